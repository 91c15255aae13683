"""A schedule for those who have a scheduler: units of systemd, or a line of a crontab."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import Any, Final

from postlatch.cli.audit_history import SCHEDULE
from postlatch.cli.command import Kind

_NOT_REPEATED: Final = frozenset({"every", "once", "print_systemd", "print_cron"})
_STATE: Final = "postlatch-audit"
_LOW_PORT: Final = 1024


def program() -> str:
    """The absolute path that a scheduler starts."""
    found = shutil.which(sys.argv[0]) or shutil.which("postlatch")
    return str(Path(found).absolute()) if found else "/usr/bin/postlatch"


def command_line(arguments: dict[str, Any], path: str) -> list[str]:
    """The command that audits once with these arguments."""
    words = [path, "audit", "schedule", "--once"]
    for argument in SCHEDULE.arguments:
        value = arguments.get(argument.name)
        if not argument.flag or argument.name in _NOT_REPEATED or value in {None, False}:
            continue
        words.append(argument.flag)
        if argument.kind is Kind.DURATION:
            words.append(f"{value} seconds")
        elif argument.kind is not Kind.FLAG:
            words.append(str(value))
    return words + [str(target) for target in arguments["targets"]]


def systemd_units(arguments: dict[str, Any], path: str = "") -> str:
    """A service and its timer, with comments that say where they go."""
    wanted = dict(arguments)
    own_history = "history" not in wanted
    if own_history:
        wanted["history"] = f"/var/lib/{_STATE}"
    start = " ".join(map(_systemd_word, command_line(wanted, path or program())))
    service = [
        "# /etc/systemd/system/postlatch-audit.service",
        "[Unit]",
        "Description=Audit of mail servers",
        "Wants=network-online.target",
        "After=network-online.target",
        "",
        "[Service]",
        "Type=oneshot",
        f"ExecStart={start}",
        *_rights(wanted, own_history=own_history),
        "",
        "# /etc/systemd/system/postlatch-audit.timer",
        "[Unit]",
        "Description=Audits of mail servers, time and again",
        "",
        "[Timer]",
        "OnActiveSec=1min",
        f"OnUnitActiveSec={int(wanted.get('every', 86_400))}s",
        "",
        "[Install]",
        "WantedBy=timers.target",
        "",
        "# Then: systemctl daemon-reload && systemctl enable --now postlatch-audit.timer",
    ]
    return "\n".join(service)


def _rights(arguments: dict[str, Any], *, own_history: bool) -> list[str]:
    """As few as will do. The sendmail program gets its rights by its group, which a tight service would keep from it."""
    lines = ["PrivateTmp=yes", "ProtectHome=read-only"]
    if arguments.get("alert_mail") or arguments.get("alert_command"):
        lines += ["ProtectSystem=full"]
    else:
        lines += ["DynamicUser=yes", "ProtectSystem=strict"]
    if own_history:
        lines += [f"StateDirectory={_STATE}", "StateDirectoryMode=0700"]
    elif "DynamicUser=yes" in lines:
        lines[lines.index("DynamicUser=yes")] = "NoNewPrivileges=yes"  # the directory is somebody's already
        lines.append(f"ReadWritePaths={_systemd_word(str(arguments['history']))}")
    if _low_port(str(arguments.get("canary", ""))):
        lines.append("AmbientCapabilities=CAP_NET_BIND_SERVICE")
    return lines


def _low_port(canary: str) -> bool:
    port = canary.rpartition(":")[2]
    return canary.startswith("listen:") and port.isascii() and port.isdigit() and int(port) < _LOW_PORT


def _systemd_word(word: str) -> str:
    """One argument, whatever is in it (systemd.service, "Command lines"; systemd.unit, "Specifiers")."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$").replace("\n", "\\n")
    plain = bool(word) and all(letter.isalnum() or letter in "-_./:@=%$" for letter in word)
    return escaped if plain else f'"{escaped}"'


def cron_line(arguments: dict[str, Any], path: str = "") -> str:
    """ValueError for what no crontab can say."""
    line = shlex.join(command_line(arguments, path or program()))
    if "\n" in line:
        raise ValueError("a line of a crontab cannot hold a line end")
    # crontab(5): a percent sign is a line end, unless it is escaped.
    return f"{_cron_times(int(arguments.get('every', 86_400)))} {line.replace('%', chr(92) + '%')}"


def _cron_times(every: int) -> str:
    minutes, rest = divmod(every, 60)
    if rest == 0 and minutes == 24 * 60:
        return "17 3 * * *"
    if rest == 0 and minutes == 7 * 24 * 60:
        return "17 3 * * 1"
    if rest == 0 and minutes < 60 and 60 % minutes == 0:
        return f"*/{minutes} * * * *"
    hours, rest_of_hour = divmod(minutes, 60)
    if rest == 0 and rest_of_hour == 0 and hours and hours < 24 and 24 % hours == 0:
        return f"17 */{hours} * * *"
    raise ValueError("--every: a crontab can say minutes that divide an hour, hours that divide a day, a day, or a week")
