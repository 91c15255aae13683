"""What the command line, the control socket and, later, the pages call: every command by its name."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from postlatch.accounts.authenticator import Busy
from postlatch.accounts.problem import AccountError
from postlatch.app.answer import BAD_NEWS, UNDECIDED, UNUSABLE, Answer, CommandError
from postlatch.app.commands import (
    account,
    app_password,
    ban,
    delegation,
    destination,
    dkim,
    dns,
    greylist,
    journal,
    limits,
    masking,
    outbound,
    policy,
    queue,
    reports,
    right,
    self_audit,
    status,
    transfer,
)
from postlatch.app.policy import PolicyRefused
from postlatch.app.world import World
from postlatch.journal.read import JournalDamaged
from postlatch.spool.contract import SpoolError
from postlatch.store.database import StoreError
from postlatch.store.transaction import WriteFailed

Arguments = dict[str, Any]
Command = Callable[[World, Arguments], Awaitable[Answer]]

COMMANDS: dict[str, Command] = {
    "account.add": account.add,
    "account.list": account.listing,
    "account.passwd": account.passwd,
    "account.suspend": account.suspend,
    "account.restore": account.restore,
    "account.delete": account.delete,
    "account.app-password.add": app_password.add,
    "account.app-password.list": app_password.listing,
    "account.app-password.revoke": app_password.revoke,
    "account.delegate.add": delegation.add,
    "account.delegate.list": delegation.listing,
    "account.delegate.revoke": delegation.revoke,
    "right.add": right.add,
    "right.list": right.listing,
    "right.renew": right.renew,
    "right.revoke": right.revoke,
    "limits.list": limits.listing,
    "limits.reset": limits.reset,
    "right.masks": masking.listing,
    "right.resume": masking.resume,
    "masking.expect": masking.expect,
    "masking.came": masking.came,
    "greylist.list": greylist.listing,
    "greylist.forget": greylist.forget,
    "ban.add": ban.add,
    "ban.list": ban.listing,
    "ban.remove": ban.remove,
    "ban.export": ban.export,
    "ban.import": ban.take_in,
    "ban.changes": ban.changes,
    "destination.list": destination.listing,
    "destination.pause": destination.pause,
    "destination.resume": destination.resume,
    "dkim.keygen": dkim.keygen,
    "dkim.list": dkim.listing,
    "dkim.rotate": dkim.rotate,
    "dns": dns.records,
    "outbound": outbound.outbound,
    "queue.list": queue.listing,
    "queue.show": queue.show,
    "queue.counts": queue.counts,
    "queue.hold": queue.hold,
    "queue.release": queue.release,
    "queue.retry": queue.retry,
    "queue.bounce": queue.bounce,
    "queue.delete": queue.delete,
    "journal.read": journal.read_after,
    "journal.tail": journal.tail_now,
    "journal.search": journal.find,
    "journal.export": journal.page,
    "journal.heads": journal.heads,
    "journal.key": journal.key,
    "journal.verify": journal.check,
    "rights": policy.rights,
    "decide": policy.decide,
    "audit.self": self_audit.audit_self,
    "status": status.status,
    "metrics": status.metrics,
    "reports": reports.listing,
    "backup": transfer.make,
}


async def run_command(world: World, name: str, arguments: Arguments) -> Answer:
    """Run one command; every error that a person can cause or meet becomes an answer with its exit status."""
    command = COMMANDS.get(name)
    if command is None:
        return Answer(UNUSABLE, {}, f"there is no command {name!a}")
    try:
        # One change at a time: a proof runs in a thread, and what it proved must be what is installed.
        async with world.changing if name.startswith(("account.", "right.")) else contextlib.nullcontext():
            answer = await command(world, arguments)
        return answer._replace(data={**answer.data, "schema": f"postlatch.{name}/1"})
    except CommandError as error:
        return Answer(error.status, {}, str(error))
    except PolicyRefused as error:
        data = policy.judged(error.judgement)
        return Answer(BAD_NEWS, data, f"refused: {error}")
    except (AccountError, SpoolError, StoreError, ValueError, LookupError) as error:
        return Answer(UNUSABLE, {}, str(error))
    except (WriteFailed, Busy) as error:
        return Answer(UNDECIDED, {}, f"not done, try again: {error}")
    except JournalDamaged as error:
        return Answer(BAD_NEWS, {}, str(error))
