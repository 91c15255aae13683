"""The command that shows what the running relay found out about itself."""

from __future__ import annotations

from postlatch.cli.command import Argument, Command, Kind

# What the members of the lists in results hold, as ``ROWS`` in the catalogue. The others are texts.
SELF_AUDIT_ROWS = {"addresses": ("listener", "address", "source", "verdict", "grade", "summary")}

SELF = Command(
    "audit.self",
    "How the running relay's latest audit of its own listeners came out. Status 1 if one is not closed, 3 if unknown.",
    (Argument("now", Kind.FLAG, "Audit now and wait for the result.", "--now"),),
    ("at", "seconds", "verdict", "why", "helo", "addresses", "left_out"),
    examples=("postlatch audit self", "postlatch audit self --now"),
)
SELF_AUDIT = (SELF,)
