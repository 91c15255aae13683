"""Which cases there are, for which listener, and what must hold of each when it was played."""

from __future__ import annotations

from pathlib import Path

from vector_classes import UNDECIDED, accepted_classes, passes
from vector_player import Outcome
from vector_values import OURS, Case, cases_of, load_vectors

from postlatch.model.envelope import Role

# I04 compares two families, E14 and E15 look at ports: test_relay_vectors_on_sockets. F: test_smuggling_on_sockets.
ELSEWHERE = frozenset({"I04", "E14", "E15"})
# Not played behind a STARTTLS of ours: what is about STARTTLS itself, about AUTH without it, or about the very first octets.
_ABOUT_PLAINTEXT = frozenset({"E09", "E10", "E11", "E12", "G01", "I03"})


def playable(testdata: Path) -> list[Case]:
    """Every case of the catalogue that has an envelope or steps, but for smuggling and what is looked at elsewhere."""
    vectors = load_vectors(testdata)
    wanted = [v for v in vectors if v["kind"] not in {"config", "smuggling"} and v["id"] not in ELSEWHERE]
    return [case for vector in wanted for case in cases_of(vector)]


def is_meant_for(vector: str, role: Role, *, tls: bool) -> bool:
    """False where the vector asks for what cannot be there."""
    if vector == "G10":
        return role in {Role.MX, Role.RELAY}
    if role is Role.SUBMISSIONS:
        return vector != "G01"
    return not (tls and vector in _ABOUT_PLAINTEXT)


def check(case: Case, outcome: Outcome, role: Role, *, tls: bool, hello: str = "EHLO") -> None:
    """Nothing foreign was accepted, nothing at all but on mx; then the answers are of the expected classes."""
    legal = OURS if role is Role.MX else frozenset[str]()
    assert legal.issuperset(outcome.recipients), (str(case), outcome.log)
    if case.vector in UNDECIDED:
        return
    classes = accepted_classes(case, role, tls=tls, hello=hello)
    assert outcome.judged, (str(case), outcome.log)
    for candidates in outcome.judged:
        assert any(passes(heard, classes) for heard in candidates), (str(case), role, candidates, sorted(classes), outcome.log)
