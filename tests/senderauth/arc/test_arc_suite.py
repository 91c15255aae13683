"""The validation part of the ARC test suite, which was written for draft 18, under RFC 8617."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from postlatch.senderauth.arc.verify import ArcVerifier
from postlatch.senderauth.results import ArcResult
from postlatch.testing.dns import FakeResolver

yaml: Any = import_module("yaml")  # without types

# Where the RFC, or an RFC that it builds on, wants something else than the suite: (test, the suite's result, ours, why).
DIFFERENCES: tuple[tuple[str, str, str, str], ...] = (
    (
        "cv_fail_i1_as_cv_fail",
        "",
        "fail",
        "the suite gives no result; RFC 8617 section 5.2 step 2: the newest cv=fail makes the chain fail",
    ),
    ("cv_fail_i2_as2_fail", "", "fail", "as above"),
    (
        "cv_fail_i2_as1_fail",
        "",
        "fail",
        "the suite gives no result; RFC 8617 section 5.2 step 3: cv of every instance but the first must be pass, of it none",
    ),
    (
        "ams_fields_h_empty",
        "pass",
        "fail",
        "RFC 6376 sections 3.5 and 5.4, which RFC 8617 section 4.1.2 takes over: h= must not be empty and must name From",
    ),
    (
        "ams_fields_c_na",
        "pass",
        "fail",
        "the suite leaves c= out and signs relaxed; RFC 8617 section 4.1.2 takes over RFC 6376 section 3.5: then it is simple",
    ),
)


class Case(NamedTuple):
    name: str
    message: bytes
    expected: str
    zone: dict[str, Any]


def cases(folder: Path) -> Iterator[Case]:
    """All 175: an ordinary loader keeps one of two tests that have the same name, so the nodes are read, not the mappings."""
    text = (folder / "arc" / "arc-draft-validation-tests.yml").read_text("utf-8")
    for document in yaml.compose_all(text, Loader=yaml.SafeLoader):
        parts = dict(pairs(document))
        records = {name: {"TXT": [node.value]} for name, node in pairs(parts["txt-records"])}
        for name, node in pairs(parts["tests"]):
            test = dict(pairs(node))
            message = test["message"].value.encode().replace(b"\n", b"\r\n")
            yield Case(name, message, test["cv"].value.lower(), records)


def pairs(node: Any) -> list[tuple[str, Any]]:
    return [(key.value, value) for key, value in node.value] if isinstance(node.value, list) else []


def verified(message: bytes, zone: dict[str, Any]) -> ArcResult:
    header, _, body = message.partition(b"\r\n\r\n")
    if message.startswith(b"\r\n"):
        header, body = b"", message[2:]

    async def scenario() -> ArcResult:
        verifier = ArcVerifier(header + b"\r\n", now=1_767_225_600.0)
        verifier.start(FakeResolver(zone))
        verifier.feed(body)
        return await verifier.finish(FakeResolver(zone))

    return asyncio.run(scenario())


def test_every_case_of_the_suite_has_its_result_or_a_reason_for_another(testdata: Path) -> None:
    expected = {name: (theirs, ours) for name, theirs, ours, _ in DIFFERENCES}
    seen: list[str] = []
    wrong: list[str] = []
    for case in cases(testdata):
        result = verified(case.message, case.zone)
        theirs, ours = expected.get(case.name, (case.expected, case.expected))
        if case.expected != theirs or result.result.value != ours:
            wrong.append(f"{case.name}: {case.expected or 'no result'} in the suite, {result}")
        seen.append(case.name)
    assert not wrong, "\n".join(wrong)
    assert len(seen) == 175
    assert len(set(seen)) == 171, "four names are there twice"
    assert set(expected) <= set(seen)


@pytest.mark.parametrize(("name", "instance"), [("cv_pass_i1_1", 1), ("cv_pass_i2_1", 2), ("cv_pass_i5_1", 5), ("cv_base1", 0)])
def test_the_number_of_sets_and_their_sealers_are_told(testdata: Path, name: str, instance: int) -> None:
    case = next(case for case in cases(testdata) if case.name == name)
    result = verified(case.message, case.zone)
    assert result.instance == len(result.sealers) == instance
    assert set(result.sealers) <= {"example.org"}
