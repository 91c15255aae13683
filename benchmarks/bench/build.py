"""Compiles the small C programs of this folder when they are needed. Needs gcc, or another cc."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

_SOURCES = Path(__file__).resolve().parent.parent
_OPENSSL = ["-l:libssl.so.3", "-l:libcrypto.so.3"]


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Lives as long as this process. Other users' daemons load from it."""
    made = tempfile.TemporaryDirectory(prefix="postlatch-bench-bin-")
    Path(made.name).chmod(0o755)
    return made


@functools.cache
def load_generator() -> Path:
    """The program of ``load.c``."""
    return _compile("load.c", "load", _OPENSSL)


@functools.cache
def slow_sync_library() -> Path:
    """The preload library of ``slow_sync.c``."""
    return _compile("slow_sync.c", "slow_sync.so", ["-shared", "-fPIC"])


def _compile(source: str, name: str, options: list[str]) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise RuntimeError(f"{source} needs a C compiler: install gcc and libc6-dev")
    target = Path(_folder().name) / name
    done = subprocess.run(
        [compiler, "-O2", "-o", target, _SOURCES / source, *options], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{source} does not compile: {done.stderr}")
    target.chmod(0o755)
    return target
