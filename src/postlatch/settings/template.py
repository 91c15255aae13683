"""The configuration that ``init`` writes: complete, commented, and closed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType

ADDRESSES: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "mx": ("0.0.0.0:25", "[::]:25"),
        "submission": ("0.0.0.0:587", "[::]:587"),
        "submissions": ("0.0.0.0:465", "[::]:465"),
    }
)

_TEMPLATE = """\
# Postlatch configuration. Every relative path is relative to this file; unknown keys are errors; times are UTC.
# After a change: postlatch check (says what is wrong, and proves that nobody unlisted can relay), then reload (SIGHUP).

hostname = {hostname:<19} # this server's name: in its greeting, in EHLO, and in the DNS (A, AAAA and PTR)
data_dir = "data"              # queue, accounts, rights, journal: back this up (postlatch backup FILE)
{user}

# Mail from other servers for our domains. Nobody logs in here, and nothing for elsewhere is taken.
[[listeners]]
name = "mx"
address = {mx}
role = "mx"

# People and programs that log in: STARTTLS, then a password.
[[listeners]]
name = "submission"
address = {submission}
role = "submission"

# The same with TLS from the first byte.
[[listeners]]
name = "submissions"
address = {submissions}
role = "submissions"

[tls]
certificate = {certificate:<16} # self-signed by init: replace both files by those of your certificate authority
key = {key:<24} # (a renewed file is taken up by itself)

# Our domains, each by its exact name. Who is not listed here gets no mail.
[domains.{domain}]
deliver = "maildir:data/mail"  # or "lmtp://127.0.0.1:24", "lmtp+unix:///run/dovecot/lmtp", "smtp://10.0.0.5:25"
recipients = [{admin}]
aliases = {{ postmaster = [{admin}], abuse = [{admin}] }}

# A domain that is relayed to, by this one route: a branch office, a backup MX.
# [relay_domains."branch.example"]
# route = "smtp://10.1.0.5:25"
# recipients = "callout"       # ask the next hop who is known there; or a list
# owner = {address}
# expires = 2027-06-30         # the last day of it

# Machines that cannot log in (printers, applications) need a listener of role "relay" and a right, as narrow as can be:
# [[listeners]]
# name = "relay"
# address = "10.0.3.1:2525"
# role = "relay"
#
# [[rights]]
# name = "printers"
# networks = ["10.0.3.0/28"]
# listeners = ["relay"]
# senders = [{pattern}]
# owner = {address}
# expires = 2027-06-30
# limits = {{ messages = ["200/day"] }}

# What one account may send. A stolen password can do no more than this.
[limits.account]
messages = ["30/minute", "500/day"]
recipients = ["300/hour", "1000/day"]
new_recipients = ["200/day"]   # recipients to whom it never wrote before

# Mail for elsewhere goes straight to the recipients' servers, unless somebody else takes it all:
# [outbound]
# smarthost = "smtp://relay.isp.example:587"
# username = {address}
# password_file = "smarthost.secret"
# tls = "verify"

[alerts]
to = [{address}]

[retention]
journal = "90 days"

[http]
address = {http:<20} # dashboard, /metrics, /healthz, /readyz; keep it off the internet
"""


def render_config(
    domain: str,
    hostname: str,
    *,
    admin: str = "admin",
    user: str | None = None,
    addresses: Mapping[str, Sequence[str]] = ADDRESSES,
    certificate: str = "cert.pem",
    key: str = "key.pem",
    http: str = "127.0.0.1:8025",
) -> str:
    """A ``postlatch.toml`` for one domain that loads without a problem.

    ``domain`` and ``hostname`` are A-label domains, ``admin`` the local part that gets the administrator's mail. ``user`` is
    commented out without a name. ``addresses`` are by listener (``mx``, ``submission``, ``submissions``), all three.
    """
    user_line = f"user = {_quote(user)}" if user else '# user = "postlatch"           # dropped to once the ports are bound'
    return _TEMPLATE.format(
        domain=_quote(domain),
        hostname=_quote(hostname),
        user=user_line,
        admin=_quote(admin),
        address=_quote(f"{admin}@{domain}"),
        pattern=_quote(f"@{domain}"),
        certificate=_quote(certificate),
        key=_quote(key),
        http=_quote(http),
        **{name: "[" + ", ".join(map(_quote, addresses[name])) + "]" for name in ADDRESSES},
    )


def _quote(text: str) -> str:
    """A TOML basic string; JSON's escapes are a subset of TOML's."""
    return json.dumps(text, ensure_ascii=False)
