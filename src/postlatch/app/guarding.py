"""The commands against those who break in that need more than the relay: a file, the configuration, the kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from postlatch.app.answer import GOOD, Answer
from postlatch.app.ban_import import export_bans, import_bans
from postlatch.app.firewall import run, status
from postlatch.app.firewall_rules import rules
from postlatch.settings.problem import SettingsError
from postlatch.settings.tree import Settings

Ask = Callable[[str, dict[str, Any]], Answer]


def call_guard(command: str, arguments: dict[str, Any], ask: Ask, settings: Callable[[], Settings]) -> Answer:
    """The answer of one of them. ``ask`` is the relay's, or the database's."""
    match command:
        case "ban.import":
            return import_bans(ask, arguments)
        case "ban.export":
            return export_bans(ask(command, {}), arguments)
        case "firewall.status":
            return status()
        case _:
            return _rules(arguments, ask, settings())


def _rules(arguments: dict[str, Any], ask: Ask, settings: Settings) -> Answer:
    answer = ask("right.list", {})
    if answer.status != GOOD:
        return answer
    lines = rules(settings, answer.data["rights"], arguments.get("submission", ()))
    return Answer(GOOD, {"schema": "postlatch.firewall.rules/1", "lines": lines}, "")


def run_firewall(settings: Callable[[], Settings]) -> int:
    """``firewall run``; the exit status."""
    try:
        return run(settings())
    except SettingsError as error:
        print(error)  # noqa: T201 (a command says so)
        return error.exit_status
