"""The connections to one target and the jobs that wait for them.

The rule, in order:
1. A job goes to a connection that has nothing to do; of several to the one used last, so that the others run into their
   time-out.
2. Else its envelope goes right behind a final dot whose reply is still to come, on a pipelining connection (RFC 2920), unless
   that reply has been awaited for `PATIENCE` seconds: a message that the server broods over must not hold up another.
3. Else it waits. Connections take the first that waits whenever they can.
4. A connection is opened if there is none, or if more than `QUEUE` jobs wait for each that there is, or if the first has waited
   for `PATIENCE` seconds: a quick server is served by few connections, a slow one by up to ``max_per_target``.
5. If a connection cannot be had while others work, nobody fails: the server has told us its limit, and for `RESPITE` seconds no
   further one is tried. If none is left, all that wait fail at once.
6. A connection that has carried as many messages as its target takes on one is given up, and another opened if jobs wait.
7. A job that was lost before any reply, on a connection that had been of use, is done over, once, as the first on a new one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from postlatch.delivery.contract import ConnectFailed, Target
from postlatch.delivery.session import Job, Session, Timeouts
from postlatch.delivery.session_setup import Connect, Dialler, open_session
from postlatch.delivery.tls import TlsContexts
from postlatch.delivery.tls_seen import TlsSeen
from postlatch.model.clock import Clock
from postlatch.smtp.client import ClientSession
from postlatch.smtp.client_replies import escape
from postlatch.smtp.client_transaction import Transaction

QUEUE: Final = 4
PATIENCE: Final = 0.5
RESPITE: Final = 60.0


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """What all connections of a pool share. ``idle_seconds``: how long one without work is kept."""

    hostname: str
    clock: Clock
    connect: Connect
    contexts: TlsContexts
    timeouts: Timeouts
    idle_seconds: float
    max_per_target: int
    tls_seen: TlsSeen | None = None


class Lane:
    """One target. ``released`` is called when it holds nothing any more. ``remote`` names the target for people."""

    def __init__(self, target: Target, config: PoolConfig, released: Callable[[Lane], None]) -> None:
        self.target = target
        self.remote = escape(str(target))
        self._config = config
        self._released = released
        self._dialler = Dialler(self._make, config.connect, config.timeouts, config.contexts, config.tls_seen)
        self._waiting: deque[Job] = deque()
        self._reruns: deque[Job] = deque()
        self._opening: set[asyncio.Task[Session]] = set()
        self._sessions: set[Session] = set()  # all: being set up, at work, taking leave
        self._live: set[Session] = set()  # those that take work
        self._idle: dict[Session, None] = {}  # of these, those with nothing to do, the last used at the end
        self._behind: dict[Session, float] = {}  # and those that take an envelope behind a final dot, since when
        self._grow_after = 0.0
        self._closed = False
        self._most = target.connections or config.max_per_target
        self._per_connection = target.per_connection

    def submit(self, job: Job) -> None:
        """Have a job done."""
        session = self._free()
        if session is not None:
            session.begin(job)
            return
        job.since = self._config.clock.monotonic()
        self._waiting.append(job)
        self._balance()

    def sweep(self, now: float) -> None:
        """End what has passed its time, and lose patience with a queue that does not move. Call about twice a second."""
        for session in [session for session in self._sessions if session.deadline <= now]:
            if session in self._idle:
                self._retire(session)
            else:
                session.time_out()
        for session in [session for session, since in self._behind.items() if now - since >= PATIENCE]:
            del self._behind[session]
        # One at a time: a server that is slow because it is overloaded is not helped by a crowd.
        if self._waiting and not self._opening and now - self._waiting[0].since >= PATIENCE and self._may_grow(now):
            self._open()

    def close(self) -> None:
        """Take leave on idle connections, break off all else. Jobs in work end as lost, waiting ones with ConnectFailed."""
        self._closed = True
        self._fail_waiting(ConnectFailed("shutting down"))
        for task in self._opening:
            task.cancel()
        for session in list(self._live):
            if session.engine.quiet:
                self._retire(session)
            else:
                session.abort("shutting down")
        self._release_if_empty()

    def abort(self) -> None:
        """End every connection now."""
        for session in list(self._sessions):
            session.abort("shutting down")

    # session.Owner

    def next_job(self, session: Session) -> Job | None:
        """The first that waits. What must be the first on its connection is for new ones alone."""
        self._idle.pop(session, None)
        self._behind.pop(session, None)
        if self._is_spent(session):
            return None
        if self._reruns and session.fresh and (job := _pop(self._reruns)) is not None:
            return job
        return _pop(self._waiting) if self._waiting else None

    def offer(self, session: Session) -> None:
        """Note that ``session`` could take a job."""
        if not session.engine.quiet:
            if session.engine.can_begin and not session.fallback and not self._is_spent(session):
                self._behind[session] = self._config.clock.monotonic()
        elif session.fallback or session.engine.exhausted or self._closed or self._is_spent(session):
            self._retire(session)
            self._balance()
        else:
            session.kept = True
            session.deadline = self._config.clock.monotonic() + self._config.idle_seconds
            self._idle[session] = None

    def finished(self, session: Session, job: Job, transaction: Transaction) -> None:
        """Pass the outcomes on, or see to it that the job is done over or goes on."""
        if not transaction.replayable:
            if job.settle(transaction):
                self._go_on_with(job)
        elif session.kept and not job.rerun and not self._closed:
            job.rerun = True
            self._reruns.append(job)
        else:
            outcome = transaction.outcomes[0]
            job.fail(ConnectFailed("lost connection" if outcome is None else outcome.text))

    def gone(self, session: Session) -> None:
        """Forget the connection, and replace it if it is needed."""
        self._idle.pop(session, None)
        self._behind.pop(session, None)
        self._live.discard(session)
        self._sessions.discard(session)
        self._balance()
        self._release_if_empty()

    # Inside

    def _go_on_with(self, job: Job) -> None:
        if self._closed:
            job.fail(ConnectFailed("shutting down"))
        else:
            self._waiting.appendleft(job)

    def _is_spent(self, session: Session) -> bool:
        return 0 < self._per_connection <= session.begun

    def _make(self) -> Session:
        config = self._config
        engine = ClientSession(config.hostname, lmtp=self.target.lmtp)
        session = Session(engine, self, config.clock, config.timeouts)
        self._sessions.add(session)
        return session

    def _free(self) -> Session | None:
        if self._idle:
            return self._idle.popitem()[0]
        if self._behind:
            session = next(iter(self._behind))  # the one whose reply has been awaited longest
            del self._behind[session]
            return session
        return None

    def _may_grow(self, now: float) -> bool:
        return len(self._live) + len(self._opening) < self._most and now >= self._grow_after

    def _wants_another(self) -> bool:
        if self._closed:
            return False
        if len(self._reruns) > len(self._opening):
            return True
        count = len(self._live) + len(self._opening)
        if not count:
            return bool(self._waiting)
        return len(self._waiting) > QUEUE * count and self._may_grow(self._config.clock.monotonic())

    def _balance(self) -> None:
        while self._wants_another():
            self._open()

    def _open(self) -> None:
        jobs = self._reruns or self._waiting
        mx_domain = jobs[0].mx_domain if jobs else ""
        task = asyncio.get_running_loop().create_task(open_session(self.target, self._dialler, mx_domain))
        self._opening.add(task)
        task.add_done_callback(self._opened)

    def _opened(self, task: asyncio.Task[Session]) -> None:
        self._opening.discard(task)
        if task.cancelled():
            self._release_if_empty()
            return
        error = task.exception()
        if error is not None:
            self._refused(error if isinstance(error, ConnectFailed) else _internal(task, error))
            return
        session = task.result()
        if session.engine.closed:
            self._refused(ConnectFailed("lost connection"))
        else:
            self._live.add(session)
            session.go_live()

    def _refused(self, error: ConnectFailed) -> None:
        self._grow_after = self._config.clock.monotonic() + RESPITE
        if len(self._reruns) > len(self._opening):
            self._reruns.popleft().fail(error)
        if not self._live and not self._opening:
            self._fail_waiting(error)
        self._balance()
        self._release_if_empty()

    def _fail_waiting(self, error: ConnectFailed) -> None:
        for jobs in (self._reruns, self._waiting):
            while jobs:
                jobs.popleft().fail(error)

    def _retire(self, session: Session) -> None:
        self._idle.pop(session, None)
        self._live.discard(session)
        session.quit()

    def _release_if_empty(self) -> None:
        if not (self._sessions or self._opening or self._waiting or self._reruns):
            self._released(self)


def _pop(jobs: deque[Job]) -> Job | None:
    """The first job that somebody still waits for."""
    while jobs:
        job = jobs.popleft()
        if not job.abandoned:
            return job
    return None


def _internal(task: asyncio.Task[Session], error: BaseException) -> ConnectFailed:
    """A fault of ours, or of the caller's ``connect``: told to the loop, and temporary for the mail."""
    task.get_loop().call_exception_handler({"message": "opening a connection failed", "exception": error, "task": task})
    return ConnectFailed("internal error")
