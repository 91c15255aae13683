"""``outbound``: the next hop, the policy of the domain, and its hosts one by one."""

from __future__ import annotations

from typing import Any

from postlatch.cli.render.words import text
from postlatch.cli.text import BAD_STYLE, GOOD_STYLE, UNSURE_STYLE, Line, Table

_HOW = {"mx": "by its mail hosts", "route": "by a route of the configuration", "nothing": "nowhere"}


def outbound(data: dict[str, Any]) -> list[Line | Table]:
    """Where it goes, why, and what TLS each host must give."""
    domain, why, hosts = text(data.get("domain")), _said(data.get("why")), data.get("hosts") or []
    how = _HOW.get(text(data.get("by")), "")
    hop = text(data.get("next_hop"))
    to = f" to {hop}" if data.get("by") == "route" else ""
    lines: list[Line | Table] = [Line(f"Mail for {domain} would go {how}{to}.", BAD_STYLE if why else GOOD_STYLE)]
    if why:
        lines.append(Line(f"{why[:1].upper()}{why[1:]}.", BAD_STYLE))
    if data.get("source"):
        lines.append(Line(f"It would leave from {' or '.join(map(text, data['source']))}."))
    if data.get("by") == "route":
        lines.append(Line(f"TLS: {text(data.get('tls'))}."))
    if data.get("by") == "mx":
        lines += _policies(data)
    if hosts:
        rows = [
            (
                "yes" if host.get("used") else "no",
                text(host.get("host")),
                text(host.get("tls")),
                text(host.get("proof")),
                text(host.get("why")),
            )
            for host in hosts
        ]
        lines += [Line(), Table(("USED", "HOST", "TLS", "PROVED BY", "WHY"), rows)]
    return lines


def _policies(data: dict[str, Any]) -> list[Line | Table]:
    policy = data.get("mta_sts") or {}
    mode, why = _said(policy.get("mode")), _said(policy.get("why"))
    names = ", ".join(map(text, policy.get("mx") or []))
    policy_text = f"mode {mode} for {names or 'no host'}" if mode else why or "none"
    lines: list[Line | Table] = [Line(f"MTA-STS: {policy_text}.")]
    if mode and why:
        lines.append(Line(f"  {why}", UNSURE_STYLE))
    lines.append(Line("DANE: asked for." if data.get("dnssec") else "DANE: not asked for, since outbound.dnssec is false."))
    return lines


def _said(value: Any) -> str:
    return text(value) if value else ""
