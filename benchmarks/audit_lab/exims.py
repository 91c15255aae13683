"""Exim in six configurations, four of them open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from audit_lab.overlay import inside
from audit_lab.values import LOCAL, MAILBOX, Lab, Running, Server
from postlatch.testing.peers.ports import free_port

# The order of Debian's default: its own domains, then who may relay, then nobody.
_CONFIG: Final = """\
primary_hostname = exim.test
exim_user = Debian-exim
exim_group = Debian-exim
spool_directory = /run/exim-lab
log_file_path = {files}/%slog
daemon_smtp_ports = {port}
local_interfaces = 127.0.0.1
domainlist local_domains = {local}
domainlist relay_to_domains = {relay_to}
hostlist relay_from_hosts = {relay_from}
acl_smtp_rcpt = acl_rcpt
acl_smtp_data = acl_data
tls_advertise_hosts =
host_lookup =
rfc1413_hosts =
queue_run_in_order = false
{main}
begin acl
acl_rcpt:
{first}
{odd}
  accept domains = +local_domains
         verify = recipient
  require domains = ! +local_domains
          message = Unknown user
  accept hosts = +relay_from_hosts
  accept authenticated = *
  require message = relay not permitted
          domains = +relay_to_domains
  accept
acl_data:
  accept
begin routers
others:
  driver = manualroute
  domains = ! +local_domains
  route_list = * 127.0.0.1::{canary}
  self = send
  transport = out
ours:
  driver = redirect
  local_parts = alice : postmaster
  data = :blackhole:
begin transports
out:
  driver = smtp
  allow_localhost
begin authenticators
{authenticators}
"""
_ODD: Final = "  deny local_parts = ^[.] : ^.*[@%!/|]\n       message = Restricted characters in address"
_ANY_PASSWORD: Final = """\
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = yes
  server_set_id = $auth2
"""
# Old configurations let such names through unverified, for they are nobody's until they are taken apart.
_PERCENT: Final = "  accept domains = +local_domains\n         local_parts = ^.*%"
_DEFAULTS: Final = {
    "relay_to": "",
    "relay_from": "127.0.0.1",
    "main": "",
    "first": "",
    "odd": _ODD,
    "authenticators": "",
}
_CONFIGS: Final[tuple[tuple[str, str, str, dict[str, str]], ...]] = (
    ("closed", "closed", "Debian's order of checks", {}),
    ("relay-from", "open", "relay_from_hosts = *", {"relay_from": "*"}),
    ("relay-to", "open", "relay_to_domains = *", {"relay_to": "*"}),
    ("own-sender", "open", "accept senders = *@our domain", {"first": f"  accept senders = *@{LOCAL}"}),
    (
        "percent",
        "closed",
        "percent_hack_domains: the address is taken apart before the list is asked",
        {"main": f"percent_hack_domains = {LOCAL}", "odd": "", "first": _PERCENT},
    ),
    ("any-password", "open", "an authenticator with server_condition = yes", {"authenticators": _ANY_PASSWORD}),
)


@contextmanager
def _exim(lab: Lab, changes: dict[str, str]) -> Iterator[Running]:
    port, files = free_port(), lab.folder / "files"
    files.mkdir()
    fields = {**_DEFAULTS, **changes}
    text = _CONFIG.format(port=port, canary=lab.canary, local=LOCAL, files=files, **fields)
    (files / "exim.conf").write_text(text)
    script = f"""
chmod 777 {files}
install -d -o Debian-exim -g Debian-exim /run/exim-lab
cp {files}/exim.conf /etc/exim-lab.conf
exec /usr/sbin/exim4 -C /etc/exim-lab.conf -bdf -q1m
"""
    with inside("exim", lab.folder, script, port):
        yield Running(port, local=MAILBOX)


EXIMS: Final = tuple(
    Server(f"exim {name}", (truth,), why, partial(_exim, changes=dict(changes))) for name, truth, why, changes in _CONFIGS
)
