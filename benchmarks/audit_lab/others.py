"""OpenSMTPD in four configurations, Haraka in four, Sendmail in two."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Final

from audit_lab.overlay import inside
from audit_lab.values import LOCAL, Absent, Lab, Running, Server
from postlatch.testing.peers.haraka import peers_folder
from postlatch.testing.peers.ports import end, free_port, listens, wait_until

# OpenSMTPD: the first rule that fits says what becomes of a message.
_OPENSMTPD: Final = """\
table domains {{ {local} }}
table mailboxes {{ alice@{local} = alice, postmaster@{local} = alice }}
listen on 127.0.0.1 port {port} hostname smtpd.test {listen}
action "here" maildir "/run/mail" virtual <mailboxes>
action "out" relay host smtp://127.0.0.1:{canary}
{rules}
match from any for domain <domains> action "here"
match from src 127.0.0.1 for any action "out"
"""
_RULES: Final = (
    ("closed", "closed", "from any for its own domain alone", ""),
    ("any-any", "open", "match from any for any", 'match from any for any action "out"'),
    (
        "mail-from",
        "open",
        "match from any mail-from its own domain: anybody can say that",
        f'match from any mail-from "@{LOCAL}" for any action "out"',
    ),
    (
        "source-range",
        "open",
        "match from a range that holds the whole world",
        'match from src 0.0.0.0/0 for any action "out"',
    ),
)


@contextmanager
def _opensmtpd(lab: Lab, rules: str) -> Iterator[Running]:
    port, files = free_port(), lab.folder / "files"
    files.mkdir()
    (files / "smtpd.conf").write_text(
        _OPENSMTPD.format(port=port, local=LOCAL, canary=lab.canary, rules=rules, listen="no-dsn")
    )
    script = f"""
mkdir -p /var/spool/smtpd /run/mail /var/empty /run/smtpd
chmod 711 /var/spool/smtpd
chown alice /run/mail
exec /usr/sbin/smtpd -d -f {files}/smtpd.conf
"""
    with inside("opensmtpd", lab.folder, script, port):
        yield Running(port)


# Haraka takes 0.0.0.0/0 in relay_acl_allow for 0.0.0.0/32: half the world must do.
# Haraka: by default it takes nothing; what it takes, plugins say.
_OURS: Final = """\
exports.hook_rcpt = function (next, connection, params) {
  const address = params[0];
  if (address.host !== '%s') return next();
  return ['alice', 'postmaster'].includes(address.user) ? next(OK) : next(DENY, 'no such mailbox');
};
exports.hook_queue = (next) => next(OK);
"""
_HARAKA: Final[tuple[tuple[str, str, str, Mapping[str, str]], ...]] = (
    ("closed", "closed", "only its own domain", {}),
    ("relay-all", "open", "relay.ini with all=true", {"relay.ini": "[relay]\nacl=false\nall=true\nforce_routing=true\n"}),
    ("acl", "open", "relay_acl_allow with half the world", {"relay_acl_allow": "0.0.0.0/1\n"}),
    (
        "xclient",
        "closed",
        "strangers may say who connects: it changes the address, after who may relay was looked up",
        {"plugins": "xclient\nrelay\nlab_ours\n", "xclient.hosts": "127.0.0.2\n"},
    ),
)


@contextmanager
def _haraka(lab: Lab, changes: Mapping[str, str]) -> Iterator[Running]:
    home = peers_folder() / "haraka" / "node_modules" / "Haraka"
    if not home.exists():
        raise Absent("benchmarks/install_peers.sh installs Haraka")
    port, folder = free_port(), lab.folder / "haraka"
    (folder / "queue").mkdir(parents=True)
    (folder / "plugins").mkdir()
    (folder / "plugins" / "lab_ours.js").write_text(_OURS % LOCAL)
    route = json.dumps({"action": "continue", "nexthop": f"127.0.0.1:{lab.canary}"})
    files = {
        "me": "haraka.test",
        "plugins": "relay\nlab_ours\n",
        "smtp.ini": f"listen=127.0.0.1:{port}\nnodes=0\n",
        "relay.ini": "[relay]\nacl=true\nforce_routing=true\n",
        "relay_acl_allow": "127.0.0.1/32\n",
        "relay_dest_domains.ini": f"[domains]\nany={route}\n",
        "outbound.ini": "local_mx_ok=true\nenable_tls=false\n",
        "log.ini": "level=notice\n",
        **changes,
    }
    shutil.copytree(home / "config", folder / "config")
    for name, text in files.items():
        (folder / "config" / name).write_text(text)
    with (lab.folder / "log").open("wb") as log:
        process = subprocess.Popen(["node", home / "bin" / "haraka", "-c", folder], stdout=log, stderr=log, cwd=folder)
    try:
        wait_until(lambda: listens(port), 30, "Haraka to listen")
        yield Running(port)
    finally:
        end(process)


# Sendmail: m4 makes its configuration, as Debian's sendmailconfig does.
_SENDMAIL: Final = """\
define(`_USE_ETC_MAIL_')dnl
include(`/usr/share/sendmail/cf/m4/cf.m4')dnl
OSTYPE(`debian')dnl
DOMAIN(`generic')dnl
undefine(`confHOST_STATUS_DIRECTORY')dnl
define(`confDOMAIN_NAME', `sendmail.test')dnl
define(`confPID_FILE', `/run/sendmail-lab.pid')dnl
define(`confTO_IDENT', `0')dnl
define(`confDONT_BLAME_SENDMAIL', `GroupWritableDirPathSafe,AssumeSafeChown')dnl
define(`confTRUSTED_USER', `root')dnl
define(`SMART_HOST', `esmtp:[127.0.0.1]')dnl
define(`ESMTP_MAILER_ARGS', `TCP $h {canary}')dnl
define(`RELAY_MAILER_ARGS', `TCP $h {canary}')dnl
define(`confDELIVERY_MODE', `background')dnl
FEATURE(`no_default_msa')dnl
FEATURE(`accept_unresolvable_domains')dnl
FEATURE(`nocanonify')dnl
{features}
DAEMON_OPTIONS(`Family=inet, Name=MTA, Port={port}, Addr=127.0.0.1')dnl
MAILER_DEFINITIONS
MAILER(`local')dnl
MAILER(`smtp')dnl
LOCAL_CONFIG
Cw{local}
"""
_FEATURES: Final = (
    ("closed", "closed", "Debian's features: it relays for itself", ""),
    (
        "local-from",
        "open",
        "FEATURE(relay_local_from): who names its domain as sender may relay",
        "FEATURE(`relay_local_from')dnl",
    ),
)


@contextmanager
def _sendmail(lab: Lab, features: str) -> Iterator[Running]:
    port, files = free_port(), lab.folder / "files"
    files.mkdir()
    (files / "lab.mc").write_text(_SENDMAIL.format(port=port, canary=lab.canary, local=LOCAL, features=features))
    script = f"""
hostname_line="127.0.0.1 sendmail.test localhost"
cp /etc/hosts /run/hosts-before
{{ echo "$hostname_line $(hostname).test $(hostname)"; cat /run/hosts-before; }} >/run/hosts-after
mount --bind /run/hosts-after /etc/hosts 2>/dev/null || cp /run/hosts-after /etc/hosts
mkdir -p /etc/mail /var/spool/mqueue /var/mail
chmod 700 /var/spool/mqueue
touch /etc/mail/local-host-names /etc/mail/relay-domains
echo "postmaster: alice" >/etc/mail/aliases
m4 {files}/lab.mc >/etc/mail/sendmail.cf
/usr/libexec/sendmail/sendmail -C /etc/mail/sendmail.cf -bi -oA/etc/mail/aliases || true
exec /usr/libexec/sendmail/sendmail -C /etc/mail/sendmail.cf -bD -q1m
"""
    with inside("sendmail", lab.folder, script, port):
        yield Running(port)


OTHERS: Final = (
    *(Server(f"opensmtpd {name}", (truth,), why, partial(_opensmtpd, rules=rules)) for name, truth, why, rules in _RULES),
    *(Server(f"haraka {name}", (truth,), why, partial(_haraka, changes=changes)) for name, truth, why, changes in _HARAKA),
    *(
        Server(f"sendmail {name}", (truth,), why, partial(_sendmail, features=features))
        for name, truth, why, features in _FEATURES
    ),
)
