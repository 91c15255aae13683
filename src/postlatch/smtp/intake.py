"""The part of a server session that takes mail: MAIL, RCPT, DATA and BDAT, the octets of bodies, and the owner's answers."""

from __future__ import annotations

from postlatch.model.envelope import Role
from postlatch.model.reply import Reply
from postlatch.smtp import commands, replies
from postlatch.smtp.body import ChunkDecoder, DataDecoder, End
from postlatch.smtp.commands import CommandError
from postlatch.smtp.config import ServerConfig
from postlatch.smtp.conversation import Conversation
from postlatch.smtp.events import BodyChunk, BodyEnd, BodyStart, Mail, Rcpt, Reason
from postlatch.smtp.states import TABLE, Input, State, Verb


class MailIntake(Conversation):
    """What ``ServerSession`` does with a mail transaction; that is the class to use."""

    def __init__(self, config: ServerConfig) -> None:
        super().__init__(config)
        self._tls = config.tls_active
        # Of the open transaction:
        self._smtputf8 = False
        self._recipients = 0
        self._data = DataDecoder()
        self._chunks = ChunkDecoder()
        self._announced = 0  # octets in all BDATs of this message
        self._size = 0  # octets of the body so far
        self._skip = 0  # octets of a refused BDAT still to come, and the reply to give behind them
        self._skip_reply: Reply | None = None

    @property
    def in_body(self) -> bool:
        """True while the next octets belong to a body."""
        return self._question is None and (self._state in {State.DATA, State.CHUNK} or self._skip_reply is not None)

    def accept_body(self) -> None:
        """Answer BodyStart: 354 for DATA; for BDAT the reply comes behind the chunk."""
        question = self._take(BodyStart)
        if self._did_not_wait(question) or self._leave_if_due():
            return
        if isinstance(question, BodyStart) and question.chunking:
            self._move(Verb.BDAT)
        else:
            self._data = DataDecoder()
            self._move(Verb.DATA)
            self._send(replies.START_BODY)

    # The commands

    def _mail(self, _verb: Verb, argument: str) -> None:
        self._patience.mail()
        if self._leave_if_due():
            return
        sender, params = commands.parse_mail(argument, esmtp=self._esmtp, origin=self._config.origin, tls=self._tls)
        if params.size > self._config.max_size:
            raise CommandError(replies.TOO_BIG)
        self._ask(Mail(sender, params))

    def _rcpt(self, _verb: Verb, argument: str) -> None:
        if self._recipients >= self._config.max_recipients:
            self._patience.refused_recipient()
            raise CommandError(replies.TOO_MANY_RECIPIENTS)
        bare = self._config.role is Role.MX
        recipient, params = commands.parse_rcpt(
            argument,
            esmtp=self._esmtp,
            smtputf8=self._smtputf8,
            bare_postmaster=bare,
            origin=self._config.origin,
        )
        self._ask(Rcpt(recipient, params))

    def _start_data(self, _verb: Verb, _argument: str) -> None:
        self._ask(BodyStart(chunking=False))

    def _bdat(self, verb: Verb, argument: str) -> None:
        count, last = commands.parse_bdat(argument)
        refusal = TABLE[self._state][verb] if self._esmtp else replies.NEED_HELLO
        if isinstance(refusal, State) and self._announced + count > self._config.max_size:
            self._drop(Reason.TOO_BIG)
            self._move(Input.BODY_REFUSED)
            refusal = replies.TOO_BIG
        if isinstance(refusal, Reply):
            self._record(verb, refusal)
            self._skip, self._skip_reply = count, refusal
            return
        self._announced += count
        if self._state is State.RCPT:
            self._chunks = ChunkDecoder()
            self._ask(BodyStart(chunking=True))
        else:
            self._move(verb)
        self._chunks.open(count, last=last)

    # The octets of a body

    def _read_data(self) -> bool:
        return self._read_body(self._data)

    def _read_chunk(self) -> bool:
        return self._read_body(self._chunks)

    def _read_body(self, decoder: DataDecoder | ChunkDecoder) -> bool:
        piece = decoder.take(self._lines.data)
        self._size += len(piece.data)
        if self._size > self._config.max_size:
            self._drop(Reason.TOO_BIG)  # and read on to the end, where the reply belongs
        if piece.data and self._open:
            self._events.append(BodyChunk(piece.data))
        match piece.end:
            case End.FAULT:
                self._close(Reason.BAD_BODY, replies.BAD_BODY)
            case End.CHUNK:
                self._move(Input.CHUNK_COMPLETE)
                self._send(replies.CHUNK_TAKEN)
            case End.MESSAGE:
                self._end_of_message()
        return piece.end is not End.NOTHING or bool(piece.data)

    def _end_of_message(self) -> None:
        if self._lines.data and not self._esmtp:
            self._close(Reason.PIPELINING, replies.SYNCHRONISATION)
        elif self._open:
            self._ask(BodyEnd(self._size))
        else:
            self._move(Input.MESSAGE_COMPLETE)
            self._reject(Verb.DATA, replies.TOO_BIG)

    def _skip_chunk(self, reply: Reply) -> bool:
        taken = min(self._skip, len(self._lines.data))
        del self._lines.data[:taken]
        self._skip -= taken
        if self._skip:
            return False
        self._skip_reply = None
        self._send(reply)
        self._leave_if_due()
        return True

    # What follows from an answer

    def _settle_mail(self, question: Mail, reply: Reply) -> None:
        if reply.code < 300:
            self._move(Verb.MAIL)
            self._open = True
            self._smtputf8 = question.params.smtputf8
            self._recipients = self._announced = self._size = 0
        elif reply.permanent:
            self._patience.error()

    def _settle_rcpt(self, reply: Reply) -> None:
        if reply.code < 300:
            self._move(Verb.RCPT)
            self._recipients += 1
            return
        self._move(Input.RCPT_REFUSED)
        if reply.permanent:
            self._patience.refused_recipient()

    def _settle_refused_body(self, question: BodyStart, reply: Reply) -> None:
        self._drop(Reason.BODY_REFUSED)
        self._move(Input.BODY_REFUSED)
        if question.chunking:
            self._skip, self._skip_reply = self._chunks.left, reply

    def _settle_message(self) -> None:
        self._open = False
        self._patience.message()
        self._move(Input.MESSAGE_COMPLETE)
