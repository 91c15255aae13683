"""What a configuration needs from the machine it runs on. Apart from ``load``, since a file is also checked elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from postlatch.model.envelope import Role
from postlatch.settings.problem import Problem
from postlatch.settings.tomlines import KeyPath
from postlatch.settings.tree import Settings


def unreachable(settings: Settings) -> list[Problem]:
    """Paths that lead nowhere, and doors that could never open, as this process sees them. Reads no secret."""
    return [*_certificate(settings), *_password(settings), *_data_directory(settings)]


def _certificate(settings: Settings) -> Iterator[Problem]:
    if settings.tls is not None:
        yield from _file(settings, ("tls", "certificate"), settings.tls.certificate)
        yield from _file(settings, ("tls", "key"), settings.tls.key)
        if settings.tls.client_ca is not None:
            yield from _file(settings, ("tls", "client_ca"), settings.tls.client_ca)
        return
    for index, listener in enumerate(settings.listeners):
        if listener.role in {Role.SUBMISSION, Role.SUBMISSIONS}:
            message = "passwords are only taken under TLS: add [tls] with certificate and key"
            yield settings.problem(("listeners", index, "role"), message, danger=True)


def _password(settings: Settings) -> Iterator[Problem]:
    if settings.outbound.password_file is not None:
        yield from _file(settings, ("outbound", "password_file"), settings.outbound.password_file)
    for key in ("jwks_file", "client_secret_file"):
        path = getattr(settings.oauth, key, None)
        if path is not None:
            yield from _file(settings, ("oauth", key), path)


def _file(settings: Settings, key: KeyPath, path: Path) -> Iterator[Problem]:
    try:
        with path.open("rb") as file:
            if not file.read(1):
                yield settings.problem(key, f"{path} is empty")
    except FileNotFoundError:
        yield settings.problem(key, f"there is no file {path} (a relative path is relative to the configuration)")
    except OSError as error:
        yield settings.problem(key, f"{path} cannot be read: {error.strerror}")


def _data_directory(settings: Settings) -> Iterator[Problem]:
    """It may be missing, if it can be made; ``serve`` makes it."""
    directory = settings.data_dir
    nearest = next(path for path in (directory, *directory.parents) if path.exists())
    if not nearest.is_dir():
        yield settings.problem("data_dir", f"{nearest} is a file, not a directory")
    elif not os.access(nearest, os.W_OK | os.X_OK):
        yield settings.problem("data_dir", f"no permission to write in {nearest}")
