"""How often the running relay is audited from outside."""

from __future__ import annotations

from pydantic import Field

from postlatch.settings import types as t


class AuditSettings(t.Table):
    """The relay's audit of itself: an extra process asks every listener as a stranger would."""

    enabled: bool = Field(
        default=True,
        examples=["false"],
        description="Whether the relay audits its own listeners. It never audits anything else.",
    )
    every: t.Duration = Field(
        default=t.as_toml("1 day"),
        ge=3600,
        le=2_678_400,
        examples=['"6 hours"', '"7 days"'],
        description="Time between two audits. The first is made two minutes after the start, unless the last one is younger "
        "than this.",
    )
