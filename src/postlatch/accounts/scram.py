"""SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677) for the server, over ``scramp``.

The binding is ``tls-server-end-point`` (RFC 5929 section 4) alone: Python 3.11 cannot export keying material
(``tls-exporter``, RFC 9266), and ``tls-unique`` is wrong under TLS 1.3. SMTP has no place for data
beside success, so the server's signature is a last challenge that the client answers with nothing (RFC 4954 section 4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from scramp import ScramException, ScramMechanism
from scramp.utils import ServerError

from postlatch.accounts.names import login_key
from postlatch.accounts.passwords import ScramVerifier
from postlatch.accounts.sasl import Challenge, Failure, Step, Success, decoded, malformed

NAME = "SCRAM-SHA-256"
PLUS = "SCRAM-SHA-256-PLUS"
BINDING = "tls-server-end-point"

# Errors of a client that speaks SCRAM well but may not come in; all others are faults of form.
_DENIALS = {
    ServerError.INVALID_PROOF: "the proof is wrong",
    ServerError.CHANNEL_BINDINGS_DONT_MATCH: "the channel binding does not match",
    ServerError.CHANNEL_BINDING_NOT_SUPPORTED: "it demanded channel binding",
    ServerError.UNSUPPORTED_CHANNEL_BINDING_TYPE: "it demanded channel binding of another type",
    ServerError.SERVER_DOES_SUPPORT_CHANNEL_BINDING: "it did not see that channel binding is offered",
}


@dataclass(frozen=True, slots=True)
class Found:
    """The verifier of a login. ``known`` is False for a decoy: its exchange goes on to the end, and fails there."""

    verifier: ScramVerifier
    known: bool


Lookup = Callable[[str], Found]  # by login_key; never fails


class ScramSha256:
    """One exchange. ``nonce`` is the server's part: printable ASCII without comma, unpredictable, never used before.

    ``binding`` is the connection's, if ``-PLUS`` is offered on it; the client of the plain mechanism must then not claim that
    it was not (RFC 5802 section 6: somebody between us has cut it out). ``plus``: the client chose ``-PLUS``.
    """

    def __init__(self, lookup: Lookup, nonce: str, binding: bytes | None = None, *, plus: bool = False) -> None:
        self._lookup = lookup
        self._plus = plus
        bound = None if binding is None else (BINDING, binding)
        self._server = ScramMechanism(PLUS if plus else NAME).make_server(self._find, channel_binding=bound, s_nonce=nonce)
        self._next: Callable[[str], Step] = self._client_first
        self._login = ""
        self._found: Found | None = None

    def start(self, initial: bytes | None) -> Step:
        """The client's first message, or an empty challenge for it."""
        return Challenge(b"") if initial is None else self.respond(initial)

    def respond(self, data: bytes) -> Step:
        """The client's next message."""
        text = decoded(data)
        if text is None:
            return malformed("SCRAM is not valid text", self._login)
        try:
            return self._next(text)
        except ScramException as error:
            reason = _DENIALS.get(error.server_error)
            if reason is None:
                return malformed("SCRAM is not in its form", self._login)
            return Failure(self._login, malformed=False, reason=reason)

    def _find(self, username: str) -> tuple[bytes, bytes, bytes, int]:
        """For scramp: ``username`` is unescaped and prepared."""
        self._login = login_key(username)
        self._found = self._lookup(self._login)
        verifier = self._found.verifier
        return verifier.salt, verifier.stored_key, verifier.server_key, verifier.iterations

    def _client_first(self, message: str) -> Step:
        flag, _, rest = message.partition(",")
        if flag.startswith("p=") and not self._plus:  # scramp would let it change to the other mechanism
            return Failure("", malformed=False, reason="it demanded channel binding")
        if flag[:2] in {"n", "y", "p="} and rest.startswith("a="):
            # scramp knows no authorization identity; that of another must be a denial, and nobody needs to name their own.
            return Failure("", malformed=False, reason="it named an authorization identity")
        self._server.set_client_first(message)
        self._next = self._client_final
        return Challenge(self._server.get_server_first().encode())

    def _client_final(self, message: str) -> Step:
        self._server.set_client_final(message)
        # Deleted, or given another password, since the first message: what was proved is no longer worth anything.
        if self._found is None or not self._found.known or self._lookup(self._login) != self._found:
            return Failure(self._login, malformed=False, reason="the proof is wrong")
        self._next = self._acknowledged
        return Challenge(self._server.get_server_final().encode())

    def _acknowledged(self, message: str) -> Step:
        return malformed("SCRAM ends with an empty response", self._login) if message else Success(self._login)
