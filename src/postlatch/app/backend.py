"""What the command line calls: the running relay through its control socket, or the database itself where none runs."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from postlatch.app.answer import Answer, CommandFailed

if TYPE_CHECKING:
    from postlatch.settings.problem import SettingsError
    from postlatch.settings.tree import Settings

# Rooms are imported inside the methods: a command line that only prints its help must not load a mail server.


class LocalBackend:
    """The backend of the command line on this machine."""

    def call(self, command: str, arguments: dict[str, Any], config: Path | None) -> Answer:
        """Run one command; its answer. Never raises for what a person can cause."""
        from postlatch.settings.problem import SettingsError  # noqa: PLC0415

        try:
            if command == "init":
                from postlatch.app.initialise import initialise  # noqa: PLC0415

                return initialise(arguments)
            if command == "check":
                from postlatch.app.check import check  # noqa: PLC0415

                return check(config, arguments)
            if command == "restore":
                from postlatch.app.restoring import restore  # noqa: PLC0415

                return restore(_settings(config), arguments)
            if command == "salvage":
                from postlatch.app.salvaging import salvage  # noqa: PLC0415

                return salvage(_settings(config), arguments)
            if (answer := _elsewhere(command, arguments, config)) is not None:
                return answer
            if command == "reputation":
                from postlatch.app.reputation import reputation  # noqa: PLC0415

                return reputation(config, arguments)
            if command in {"spf", "verify"}:
                from postlatch.app import senders  # noqa: PLC0415

                return (senders.spf if command == "spf" else senders.verify)(config, arguments)
            if command in {"ban.import", "ban.export", "firewall.rules", "firewall.status"}:
                from postlatch.app.guarding import call_guard  # noqa: PLC0415

                return call_guard(command, arguments, lambda name, given: _ask(config, name, given), lambda: _settings(config))
            return _ask(config, command, arguments)
        except SettingsError as error:
            return _unusable(error)

    def stream(self, command: str, arguments: dict[str, Any], config: Path | None) -> Iterator[dict[str, Any]]:
        """Records of ``journal.tail`` (following) and ``journal.export``, one by one."""
        from postlatch.app.streams import export, follow  # noqa: PLC0415
        from postlatch.settings.problem import SettingsError  # noqa: PLC0415

        def ask(name: str, values: dict[str, Any]) -> Answer:
            try:
                return _ask(config, name, values)
            except SettingsError as error:
                raise CommandFailed(_unusable(error)) from None

        return follow(ask, arguments) if command == "journal.tail" else export(ask, arguments)

    def run(self, command: str, arguments: dict[str, Any], config: Path | None) -> int:
        """``serve``, ``demo``, ``firewall run``, ``audit canary``, ``audit schedule``: take over this process until it ends."""
        if command == "firewall.run":
            from postlatch.app.guarding import run_firewall  # noqa: PLC0415

            return run_firewall(lambda: _settings(config))
        if command == "audit.canary":
            from postlatch.app.audit_canary import run_canary  # noqa: PLC0415

            return run_canary(arguments)
        if command == "audit.schedule":
            from postlatch.app.auditing import run_schedule  # noqa: PLC0415

            return run_schedule(config, arguments)
        if command == "demo":
            from postlatch.app.demo.run import run as run_demo  # noqa: PLC0415

            return run_demo(arguments)
        from postlatch.app.serve import serve  # noqa: PLC0415

        return serve(config)


def _elsewhere(command: str, arguments: dict[str, Any], config: Path | None) -> Answer | None:
    """The commands about other servers, which need no relay; None for another command."""
    if command == "lint":
        from postlatch.app.lint import lint  # noqa: PLC0415

        return lint(arguments)
    if command == "audit":
        from postlatch.app.auditing import audit  # noqa: PLC0415

        return audit(config, arguments)
    if command == "audit.compare":
        from postlatch.app.audit_history import compare  # noqa: PLC0415

        return compare(arguments)
    if command == "audit.posture":
        from postlatch.app.posture import posture  # noqa: PLC0415

        return posture(config, arguments)
    if command == "updates":
        from postlatch.app.updates import command as updates  # noqa: PLC0415

        return updates(config, arguments)
    return None


def _unusable(error: SettingsError) -> Answer:
    return Answer(error.exit_status, {"errors": [problem.as_json() for problem in error.problems]})


def _settings(config: Path | None) -> Settings:
    from postlatch.settings.load import load  # noqa: PLC0415
    from postlatch.settings.place import choose_path  # noqa: PLC0415

    return load(choose_path(config, os.environ))


def _ask(config: Path | None, command: str, arguments: dict[str, Any]) -> Answer:
    """The relay if it runs, else the database under the same lock. SettingsError if the file does not say where they are."""
    from postlatch.app import control  # noqa: PLC0415

    # First the relay: it goes on with what it read while somebody edits the file, and so must what stops an account or a right.
    if (answer := _ask_serving(config, command, arguments)) is not None:
        return answer
    settings = _settings(config)
    try:
        return control.call(settings.data_dir, command, arguments)
    except control.NotServing as error:
        from postlatch.app.offline import run_offline  # noqa: PLC0415

        return run_offline(settings, command, arguments, str(error))


def _ask_serving(config: Path | None, command: str, arguments: dict[str, Any]) -> Answer | None:
    """The answer of a relay that serves the data directory which the file names, right or not; None if there is none."""
    from postlatch.app import control  # noqa: PLC0415
    from postlatch.settings.place import choose_path  # noqa: PLC0415

    path = choose_path(config, os.environ)
    try:
        directory = path.absolute().parent / _data_directory(path.read_text("utf-8", "replace"))
        return control.call(directory, command, arguments)
    except (OSError, control.NotServing):
        return None


def _data_directory(text: str) -> str:
    """What a configuration says of it, also one that is no TOML any more."""
    try:
        named = tomllib.loads(text).get("data_dir", "data")
    except ValueError:
        found = re.search(r"""^[ \t]*data_dir[ \t]*=[ \t]*["']([^"'\0\n]+)["']""", text, re.MULTILINE)
        named = found[1] if found else "data"
    return named if isinstance(named, str) and "\0" not in named else "data"
