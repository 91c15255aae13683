"""All accounts in memory: what every login, MAIL and commit reads instead of the database."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from postlatch.accounts.app_passwords import AppPasswordRecord
from postlatch.accounts.changes import Change
from postlatch.accounts.records import OWN, AccountRecord, list_accounts
from postlatch.policy.snapshot import Account


class Profile(NamedTuple):
    """What of an account's credentials a stranger can see or measure: SCRAM iterations, and the cost of one hash."""

    iterations: int
    prefix: str


class AccountBook:
    """The accounts, by canonical login. ``version`` grows with every change. It belongs to the loop's thread."""

    def __init__(self) -> None:
        self.version = 0
        self._records: dict[str, AccountRecord] = {}
        self._policy: Mapping[str, Account] = MappingProxyType({})
        self._profiles: Counter[Profile] = Counter()

    def __len__(self) -> int:
        return len(self._records)

    def load(self, connection: sqlite3.Connection) -> None:
        """Read everything anew; ValueError if a row is spoiled, and then nothing has changed."""
        self.replace(list_accounts(connection))

    def replace(self, records: Iterable[AccountRecord]) -> None:
        """Hold exactly these, as ``list_accounts`` has read them."""
        self._records = {record.login: record for record in records}
        self._policy = MappingProxyType({login: record.for_policy() for login, record in self._records.items()})
        self._profiles = Counter(filter(None, map(_profile, self._records.values())))
        self.version += 1

    def apply(self, change: Change | None) -> None:
        """Take up what an operation has committed, in the order of the commits. None (nothing changed) is ignored."""
        if change is None:
            return
        before = self._records.pop(change.login, None)
        policy = dict(self._policy)  # a copy: whoever holds the former mapping goes on with what has been proved
        if before is not None:
            self._profiles -= Counter(filter(None, [_profile(before)]))
            policy.pop(change.login, None)
        if change.record is not None:
            self._records[change.login] = change.record
            self._profiles += Counter(filter(None, [_profile(change.record)]))
            policy[change.login] = change.record.for_policy()
        self._policy = MappingProxyType(policy)
        self.version += 1

    def get(self, login: str) -> AccountRecord | None:
        """The account of a canonical login (``names.login_key``)."""
        return self._records.get(login)

    def generation(self, login: str, credential: str | None = None) -> int | None:
        """Of an account, or of one of its application passwords; None if there is none such."""
        record = self._records.get(login)
        if record is None or credential is None:
            return None if record is None else record.generation
        shown = record.app_passwords.get(credential)
        return None if shown is None else shown.generation

    def app_passwords(self, login: str) -> tuple[AppPasswordRecord, ...]:
        """Those of an account; none if there is none such."""
        record = self._records.get(login)
        return () if record is None else tuple(record.app_passwords.values())

    def note_used(self, used: Mapping[tuple[str, str], float]) -> None:
        """When application passwords were last used, by login and name. The policy knows nothing of it."""
        for (login, name), at in used.items():
            record = self._records.get(login)
            if record is not None and name in record.app_passwords:
                shown = {**record.app_passwords, name: replace(record.app_passwords[name], last_used=at)}
                self._records[login] = replace(record, app_passwords=shown)

    def policy_accounts(self) -> Mapping[str, Account]:
        """What a policy snapshot holds of the accounts. Never changes once given out; ask again after a change."""
        return self._policy

    def profile_at(self, share: float) -> Profile | None:
        """The profile that stands at ``share`` (0 to 1) of all accounts, cheapest first; None if there are none.

        While accounts move on to new parameters one by one, a fixed share moves on with them, once, like an account would.
        """
        position = share * sum(self._profiles.values())
        for profile, count in sorted(self._profiles.items()):
            position -= count
            if position < 0:
                return profile
        return None


def _profile(record: AccountRecord) -> Profile | None:
    """None where the password is a directory's: what stands here matches nothing and follows no change of parameters."""
    if record.source != OWN:
        return None
    credentials = record.credentials
    return Profile(credentials.scram.iterations, credentials.password_hash.rsplit("$", 2)[0])
