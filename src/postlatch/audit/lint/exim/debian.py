"""Debian's configuration: update-exim4.conf.conf becomes macros, a template or a folder of pieces the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from postlatch.audit.lint.problem import LintError
from postlatch.audit.lint.reading import Line, is_readable_file, lines_of, shown

_SECTIONS: Final = ("main", "acl", "router", "transport", "retry", "rewrite", "auth")
_SETTING: Final = re.compile(r"\s*(dc_[a-z_]+|[A-Z][A-Za-z0-9_]*)=(.*)")
_PIECE: Final = re.compile(r"[A-Za-z0-9_-]+")
_SETTINGS_FILE: Final = "update-exim4.conf.conf"
_MOST_PIECES: Final = 500


class Debian:
    """What update-exim4.conf would make: ``macros`` and ``lines``; ``where`` says which line a macro comes from."""

    def __init__(self, folder: Path) -> None:
        self.where: dict[str, Line] = {}
        self._settings: dict[str, str] = {}
        self._folder = folder
        for line in lines_of(folder / _SETTINGS_FILE):
            if found := _SETTING.match(line.text):
                self._settings[found[1]] = found[2].strip().strip("'\"")
                self.where[found[1]] = line

    def macros(self) -> Iterator[tuple[str, str]]:
        """In the order in which the script defines them."""
        kind = self._setting("dc_eximconfig_configtype")
        if kind in {"", "none"}:
            return
        if interfaces := self._list("dc_local_interfaces"):
            yield "MAIN_LOCAL_INTERFACES", interfaces
        names = "@:localhost:" + self._setting("dc_other_hostnames").replace(";", ":")
        yield "MAIN_PACKAGE_VERSION", "4"
        yield "MAIN_LOCAL_DOMAINS", names.rstrip("; :")
        yield "MAIN_RELAY_TO_DOMAINS", self._list("dc_relay_domains")
        yield "ETC_MAILNAME", "mail.invalid"
        yield "LOCAL_DELIVERY", self._setting("dc_localdelivery") or "mail_spool"
        nets = self._list("dc_relay_nets")
        yield "MAIN_RELAY_NETS", nets + (" ; 127.0.0.1 ; ::1" if nets.startswith("<;") else " : 127.0.0.1 : ::::1")
        yield "DCreadhost", self._setting("dc_readhost")
        yield "DCsmarthost", self._setting("dc_smarthost")
        yield "DC_eximconfig_configtype", kind
        yield f"DCconfig_{kind}", "1"
        yield from ((name, value) for name, value in self._settings.items() if name[0].isupper() and name != "CFILEMODE")

    def lines(self) -> Iterator[Line]:
        """The template, or the pieces in order."""
        if self._setting("dc_use_split_config") == "true":
            for section in _SECTIONS:
                for piece in self._pieces(section):
                    yield from lines_of(piece)
            return
        macros = self._folder / "exim4.conf.localmacros"
        if is_readable_file(macros):
            yield from lines_of(macros)
        yield from lines_of(self._folder / "exim4.conf.template")

    def _pieces(self, section: str) -> list[Path]:
        folder = self._folder / "conf.d" / section
        try:
            names = sorted(path.name for path in folder.iterdir() if _PIECE.fullmatch(path.name))
        except OSError as error:
            raise LintError("the folder cannot be read", shown(str(folder), 300)) from error
        paths = [folder / f"{name}.rul" for name in names[:_MOST_PIECES]]
        return [
            path if is_readable_file(path) else path.with_suffix("")
            for path in paths
            if is_readable_file(path) or is_readable_file(path.with_suffix(""))
        ]

    def _setting(self, name: str) -> str:
        return self._settings.get(name, "").lower()

    def _list(self, name: str) -> str:
        value = self._setting(name)
        return f"<; {value}" if ";" in value and not value.startswith("<") else value


def is_debian(folder: Path) -> bool:
    """Whether the folder holds Debian's settings, and no exim4.conf of its own, which would win."""
    return is_readable_file(folder / _SETTINGS_FILE) and not is_readable_file(folder / "exim4.conf")
