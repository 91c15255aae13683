"""What an audit would say, said to nobody: to be read before it is done."""

from __future__ import annotations

from typing import Final

from postlatch.audit.probes.conversation import Conversation, Dialer, Reply
from postlatch.audit.probes.ended import Ended, Why
from postlatch.audit.probes.manners import Manners
from postlatch.audit.probes.place import Place

MAX_CONVERSATIONS: Final = 2000
_OFFERS: Final = ("SIZE 10485760", "PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "CHUNKING", "STARTTLS", "AUTH PLAIN LOGIN")


class DryDialer(Dialer):
    """Connects to nobody. Answers as a server that takes mail for ``known`` alone; ``said`` is all that was said to it."""

    def __init__(self, manners: Manners, *, helo: str, known: str) -> None:
        super().__init__(manners, helo=helo)
        self.said: list[tuple[Place, list[str]]] = []
        self._dry_manners = manners
        self._known = f"<{known}>".upper()

    async def connect(self, place: Place) -> Conversation:
        """A conversation with nobody."""
        if len(self.said) >= MAX_CONVERSATIONS:
            raise Ended(Why.MANNERS, f"no more than {MAX_CONVERSATIONS} conversations are shown")
        self._dry_manners.connections += 1
        talk = _DryConversation(place, self._dry_manners, self._known)
        self.said.append((place, talk.transcript))
        return talk


class _DryConversation(Conversation):
    """Every command is answered at once; nothing is asked for by itself."""

    def __init__(self, place: Place, manners: Manners, known: str) -> None:
        super().__init__(place, None, None, manners, patience=0.0)  # type: ignore[arg-type]  # there is no connection
        self._known = known
        self._has_sender = False
        self._replies = [Reply(220, ("target ESMTP",))]

    async def send(self, octets: bytes) -> None:
        self._judge(octets)
        self._note("C", octets)
        commands = [line for line in octets.upper().split(b"\n") if line.strip()]
        self._replies += [self._answer(command.decode("latin-1")) for command in commands]

    async def send_body(self, octets: bytes) -> None:
        self._note("C", octets)
        if octets.endswith(b"\r\n.\r\n"):
            self._replies.append(Reply(250, ("2.0.0 taken",)))

    async def reply(self, patience: float | None = None) -> Reply:  # noqa: ARG002 - nobody waits
        if not self._replies:
            raise Ended(Why.SILENT, "no answer in time")
        return self._replies.pop(0)

    async def unasked(self, seconds: float) -> bytes:  # noqa: ARG002 - as above
        return b""

    async def shake_hands(self) -> None:
        self.encrypted, self.features = True, {}
        self.transcript.append("   (TLS)")

    async def close(self) -> None:
        self._note("C", b"QUIT\r\n")

    def _answer(self, command: str) -> Reply:
        verb = command.split(" ", maxsplit=1)[0].split(":", maxsplit=1)[0].strip()
        if verb == "EHLO":
            return Reply(250, ("target", *_OFFERS))
        if verb == "STARTTLS" and self.encrypted:
            return Reply(503, ("TLS is there already",), "5.5.1")
        if verb in {"MAIL", "RSET"}:
            self._has_sender = verb == "MAIL"
        if verb == "RCPT" and not self._has_sender:
            return Reply(503, ("MAIL first",), "5.5.1")
        if command.startswith("RCPT"):
            return Reply(250, ("2.1.5 taken",)) if self._known in command else Reply(550, ("relaying denied",), "5.7.1")
        if command.startswith("DATA"):
            return Reply(354, ("go on",))
        if command.startswith("AUTH"):
            return Reply(535, ("no",), "5.7.8")
        return Reply(250, ("target",))
