"""Where the configuration is: said on the command line, in the environment, or in one of the usual places."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from postlatch.settings.problem import Problem, SettingsError

SYSTEM_PATH = Path("/etc/postlatch/postlatch.toml")
LOCAL_PATH = Path("postlatch.toml")
VARIABLE = "POSTLATCH_CONFIG"


def default_paths(explicit: Path | None, environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Where the configuration may be, best first. A file that was named (``--config``, ``$POSTLATCH_CONFIG``) stands alone."""
    if explicit is not None:
        return (explicit,)
    if named := environment.get(VARIABLE):
        return (Path(named),)
    return (LOCAL_PATH, SYSTEM_PATH)


def choose_path(explicit: Path | None, environment: Mapping[str, str]) -> Path:
    """The configuration file to use; SettingsError if there is none."""
    paths = default_paths(explicit, environment)
    for path in paths:
        if len(paths) == 1 or path.exists():
            return path
    tried = " and ".join(map(str, paths))
    advice = f"make one with 'postlatch init DOMAIN', or name it with --config or ${VARIABLE}"
    raise SettingsError([Problem(str(LOCAL_PATH), "", None, f"there is no configuration: tried {tried}; {advice}")])
