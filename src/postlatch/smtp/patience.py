"""How much a session bears before it says 421."""

from __future__ import annotations

from typing import Final

from postlatch.model.reply import Reply
from postlatch.smtp import replies
from postlatch.smtp.config import ServerConfig
from postlatch.smtp.events import Reason

REFUSED_RECIPIENTS_PER_ERROR: Final = 10  # a list with dead addresses is no attack


class Patience:
    """Counts, for one connection. ``lost`` says that it is over."""

    __slots__ = ("_config", "_errors", "_idle", "_recipients", "_transactions")

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        self._errors = self._recipients = self._idle = self._transactions = 0

    def error(self) -> None:
        """The client made a mistake, or its MAIL or AUTH was refused for good. Never forgiven: a guesser has all day."""
        self._errors += 1

    def refused_recipient(self) -> None:
        """A recipient was refused for good, or is one too many."""
        self._recipients += 1

    def idle_command(self) -> None:
        """A command that moves no mail."""
        self._idle += 1

    def mail(self) -> None:
        """MAIL came."""
        self._transactions += 1

    def message(self) -> None:
        """A whole message came: the commands that move no mail are counted anew."""
        self._idle = 0

    @property
    def lost(self) -> tuple[Reason, Reply] | None:
        """Why the session ends and what it says, or None."""
        config = self._config
        if self._errors >= config.max_errors or self._recipients >= config.max_errors * REFUSED_RECIPIENTS_PER_ERROR:
            return Reason.ERRORS, replies.TOO_MANY_ERRORS
        if self._transactions > config.max_transactions:
            return Reason.TRANSACTIONS, replies.TOO_MANY_TRANSACTIONS
        if 0 < config.max_commands < self._idle:
            return Reason.COMMANDS, replies.TOO_MANY_COMMANDS
        return None
