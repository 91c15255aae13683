"""What people read. One function a command, from the JSON object to lines and tables; escaping and width are ``text``'s."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from postlatch.cli.render import (
    app_passwords,
    audit,
    audit_history,
    delegations,
    destinations,
    dns,
    guarding,
    journal,
    limiting,
    linting,
    masks,
    people,
    policy,
    posture,
    queue,
    reports,
    self_audit,
    senders,
    setup,
    signing,
    strangers,
    updates,
    wayout,
)
from postlatch.cli.text import Line, Table

Renderer = Callable[[dict[str, Any]], list[Line | Table]]

RENDERERS: dict[str, Renderer] = {
    "init": setup.init,
    "backup": setup.backup,
    "restore": setup.restore,
    "salvage": setup.salvage,
    "check": policy.check,
    "rights": policy.rights,
    "decide": policy.decide,
    "account.add": people.done("Added the account {login}."),
    "account.list": people.accounts,
    "account.passwd": people.done("{login} has a new password; sessions with the old one are ended."),
    "account.suspend": people.done("Suspended {login}: it can log in but not send, and its queued mail is held."),
    "account.restore": people.done(
        "Restored {login}: it may send again. Its held mail waits for: postlatch queue release --account {login}"
    ),
    "account.delete": people.done("Deleted the account {login}."),
    "account.app-password.add": app_passwords.added,
    "account.app-password.list": app_passwords.listing,
    "account.app-password.revoke": people.done("Revoked the application password {name} of {login}: it is over now."),
    "account.delegate.add": people.done("{login} may send as {address} until {expires}."),
    "account.delegate.list": delegations.listing,
    "account.delegate.revoke": people.done("Revoked: {login} may not send as {address} any more."),
    "right.add": people.done("Added the right {name}: proved closed, and in force now."),
    "right.list": people.rights,
    "right.renew": people.done("Renewed the right {name}."),
    "right.masks": masks.masks,
    "right.resume": masks.resumed,
    "right.revoke": people.done("Revoked the right {name}: it is over now."),
    "audit": audit.audit,
    "audit.compare": audit_history.compare,
    "audit.posture": posture.posture,
    "audit.self": self_audit.self_audit,
    "lint": linting.lint,
    "updates": updates.updates,
    "limits.list": limiting.usage,
    "limits.reset": people.done("Forgot what was counted of {scope} {key}: it begins at nothing."),
    "reputation": strangers.reputation,
    "greylist.list": strangers.entries,
    "greylist.forget": people.done("Forgot {group}: it is greylisted like anybody."),
    "ban.add": people.ban_added,
    "ban.list": people.bans,
    "ban.remove": people.done("Lifted the ban of {network}."),
    "ban.export": guarding.lines,
    "ban.import": guarding.imported,
    "firewall.status": guarding.firewall,
    "firewall.rules": guarding.lines,
    "destination.list": destinations.destinations,
    "destination.pause": people.done("Paused {destination}: its mail waits for: postlatch destination resume {destination}"),
    "destination.resume": destinations.resumed,
    "dkim.keygen": signing.made,
    "dkim.list": signing.listing,
    "dkim.rotate": signing.made,
    "spf": senders.spf,
    "verify": senders.verify,
    "dns": dns.records,
    "outbound": wayout.outbound,
    "reports": reports.reports,
    "queue.list": queue.recipients,
    "queue.show": queue.messages,
    "queue.hold": queue.changed("Held"),
    "queue.release": queue.changed("Released"),
    "queue.retry": queue.changed("Asked for an attempt now for"),
    "queue.bounce": queue.changed("Bounced"),
    "queue.delete": queue.changed("Deleted"),
    "journal.tail": journal.events,
    "journal.search": journal.events,
    "journal.key": journal.key,
    "journal.verify": journal.verified,
}


def render(command: str, data: dict[str, Any]) -> list[Line | Table]:
    """The result of a command."""
    return RENDERERS[command](data)


def render_record(_command: str, record: dict[str, Any]) -> Line:
    """One record of a stream; all streams are of journal events."""
    return journal.event(record)
