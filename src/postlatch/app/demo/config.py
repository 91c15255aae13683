"""The demo's configuration: every port free and on loopback, and everything in a folder that goes away."""

from __future__ import annotations

_TEMPLATE = """\
hostname = "relay.postlatch.test"
data_dir = "data"

[tls]
certificate = "cert.pem"
key = "key.pem"

[[listeners]]
name = "mx"
address = "127.0.0.1:0"
role = "mx"

[[listeners]]
name = "submission"
address = "127.0.0.1:0"
role = "submission"

[[listeners]]
name = "submissions"
address = "127.0.0.1:0"
role = "submissions"

[[listeners]]
name = "relay"
address = "127.0.0.1:0"
role = "relay"

[domains."example.com"]
deliver = "maildir:data/mail"
recipients = ["alice", "bob"]
aliases = {{ info = ["alice@example.com", "bob@example.com"] }}

[[rights]]
name = "printer"
networks = ["127.0.0.1/32"]
listeners = ["relay"]
owner = "ops@example.com"
expires = 2099-12-31
senders = ["@example.com"]
masked = "the demo's printer is this machine itself"

[session]
auth_failure_delay = 1

[limits.client]
connections = 50
commands = ["6000/minute"]

[outbound]
smarthost = "smtp://127.0.0.1:{sink}"

[authentication]
check = false

[alerts]
to = ["alice@example.com"]

[http]
address = "127.0.0.1:0"

[log]
level = "error"
"""


def render(sink: int) -> str:
    """The demo's postlatch.toml; ``sink`` is the port that everything for elsewhere goes to."""
    return _TEMPLATE.format(sink=sink)
