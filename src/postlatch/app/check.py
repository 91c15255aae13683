"""``check``: everything that a start would look at, without starting: syntax, files, dangers, the proof."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from postlatch.accounts.book import AccountBook
from postlatch.app import masks
from postlatch.app.answer import BAD_NEWS, GOOD, UNUSABLE, Answer, CommandError
from postlatch.app.clock import SystemClock
from postlatch.app.local import local_problems
from postlatch.app.policy import Judgement, PolicyHolder
from postlatch.app.privileges import UserError, find_user
from postlatch.app.proofs import broken_keys
from postlatch.app.selftest import self_test, verdict_is_good
from postlatch.app.ways import way_problems
from postlatch.app.world import suspended_rights
from postlatch.server.tls import CertificateError, make_context
from postlatch.settings.load import load
from postlatch.settings.place import choose_path
from postlatch.settings.problem import Problem, SettingsError
from postlatch.settings.readiness import unreachable
from postlatch.settings.tree import Settings
from postlatch.store import delegations, rights
from postlatch.store.database import StoreError, examine, open_reader


def check(config: Path | None, arguments: Mapping[str, Any]) -> Answer:
    """The answer of ``postlatch check``; with ``self_test``, whether clients of the running relay have their own addresses."""
    answer = _checked(config)
    if not arguments.get("self_test"):
        return answer
    try:
        rows = self_test(load(choose_path(config, os.environ)), arguments.get("targets") or (), arguments.get("wait") or 0)
    except SettingsError:
        return answer
    except CommandError as error:
        return Answer(error.status, answer.data, str(error))
    status = answer.status if verdict_is_good(rows) else max(answer.status, BAD_NEWS)
    return Answer(status, {**answer.data, "self_test": rows})


def _checked(config: Path | None) -> Answer:
    try:
        settings = load(choose_path(config, os.environ))
    except SettingsError as error:
        return _answer(error.problems, ())
    broken = unusable(settings)
    try:
        judgement = judge_settings(settings)
    except (StoreError, sqlite3.Error, ValueError, CommandError) as error:
        return _answer([*broken, settings.problem("store", str(error))], ())
    told = {problem.key for problem in broken}
    fatal = [problem for problem in judgement.fatal if problem.key not in told]
    return _answer([*broken, *fatal, *judgement.lapsed], judgement.counterexamples, judgement.classes)


def unusable(settings: Settings) -> list[Problem]:
    """Files and users that the configuration names and that a start could not use."""
    problems = list(unreachable(settings))
    if settings.tls is not None and not any(problem.key.startswith("tls") for problem in problems):
        try:
            make_context(settings.tls.certificate, settings.tls.key, settings.tls.client_ca)
        except CertificateError as error:
            problems.append(settings.problem("tls.certificate", str(error)))
    if (broken := broken_keys(settings)) is not None:
        problems.append(broken)
    problems += local_problems(settings)
    problems += way_problems(settings)
    if settings.user is not None:
        try:
            find_user(settings.user)
        except UserError as error:
            problems.append(settings.problem("user", str(error)))
    return problems


def judge_settings(settings: Settings) -> Judgement:
    """Judge the file together with the accounts and rights of the database, if there is one."""
    book = AccountBook()
    holder = PolicyHolder(settings, book, SystemClock())
    if settings.database.exists():
        examine(settings.database)
        with closing(open_reader(settings.database)) as connection:
            book.load(connection)
            holder.stored = rights.load(connection)
            holder.suspended = suspended_rights(connection)
            holder.masks = masks.load(connection)
            holder.delegations = delegations.load(connection)
    return holder.judge(holder.candidate())


def _answer(problems: Sequence[Problem], counterexamples: Sequence[str], classes: int | None = None) -> Answer:
    data: dict[str, Any] = {
        "schema": "postlatch.check/1",
        "closed": not problems and not counterexamples,
        "classes": classes,
        "counterexamples": list(counterexamples),
        "errors": [problem.as_json() for problem in problems],
        "self_test": [],
    }
    if any(not problem.danger for problem in problems):
        return Answer(UNUSABLE, data)
    return Answer(BAD_NEWS if problems or counterexamples else GOOD, data)
