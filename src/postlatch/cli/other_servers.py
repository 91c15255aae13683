"""The commands that look at other servers, at domains and at what is installed."""

from __future__ import annotations

from postlatch.cli.audit_history import AUDIT_HISTORY, AUDIT_HISTORY_ROWS
from postlatch.cli.auditing import AUDIT, AUDIT_ROWS
from postlatch.cli.canary import CANARY
from postlatch.cli.linting import LINT, LINT_ROWS
from postlatch.cli.posture import POSTURE, POSTURE_ROWS
from postlatch.cli.self_audit import SELF_AUDIT, SELF_AUDIT_ROWS
from postlatch.cli.updates import UPDATES, UPDATES_ROWS

OTHER_SERVERS = (AUDIT, *AUDIT_HISTORY, CANARY, POSTURE, *SELF_AUDIT, LINT, UPDATES)

# What the members of the lists in results hold, as ``ROWS`` in the catalogue.
OTHER_SERVER_ROWS = {**AUDIT_ROWS, **AUDIT_HISTORY_ROWS, **LINT_ROWS, **POSTURE_ROWS, **SELF_AUDIT_ROWS, **UPDATES_ROWS}
