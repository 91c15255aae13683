"""The test suite of openspf.org for RFC 7208: every case, its result and its explanation."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from spf_samples import checked

yaml: Any = import_module("yaml")  # without types
_TYPES = ("A", "AAAA", "MX", "PTR", "TXT")


def scenarios(testdata: Path) -> Iterator[dict[str, Any]]:
    """The documents of the file; each has its own zone."""
    yield from yaml.safe_load_all((testdata / "spf" / "rfc7208-tests.yml").read_text("utf-8"))


def as_zone(zonedata: dict[str, list[Any]]) -> dict[str, dict[str, Any]]:
    """The suite's zone in the form of a ZONEFILE."""
    return {name: _types(items) for name, items in zonedata.items()}


def _types(items: list[Any]) -> dict[str, Any]:
    pairs = [pair for item in items if isinstance(item, dict) for pair in item.items()]
    types: dict[str, Any] = {}
    for kind, value in pairs:
        if value != "NONE":
            types.setdefault(kind, []).append(_text(kind, value))
    spf = types.pop("SPF", None)
    # A record of type SPF stands for TXT as well, unless the name has TXT of its own or says that it has none.
    if spf is not None and "TXT" not in {kind for kind, _ in pairs}:
        types["TXT"] = spf
    if "TIMEOUT" in items:
        types |= {kind: "TIMEOUT" for kind in _TYPES if kind not in types}
    return types


def _text(kind: str, value: Any) -> str:
    if kind == "MX":
        return f"{value[0]} {value[1]}"
    return "".join(value) if isinstance(value, list) else str(value)


def test_the_suite_is_there_as_a_whole(testdata: Path) -> None:
    found = list(scenarios(testdata))
    assert len(found) == 16
    assert sum(len(scenario["tests"]) for scenario in found) == 203
    assert sum("explanation" in test for scenario in found for test in scenario["tests"].values()) > 20


@pytest.mark.parametrize("number", range(16))
def test_every_case_of_a_scenario_has_its_result_and_its_explanation(testdata: Path, number: int) -> None:
    scenario = list(scenarios(testdata))[number]
    wrong = []
    for name, test in scenario["tests"].items():
        found = checked(as_zone(scenario["zonedata"]), test["host"], test["mailfrom"], test["helo"])
        wanted = test["result"] if isinstance(test["result"], list) else [test["result"]]
        if found.result not in wanted:
            wrong.append((name, wanted, found))
        explanation = test.get("explanation")
        if explanation is not None and found.explanation != (None if explanation == "DEFAULT" else explanation):
            wrong.append((name, explanation, found))
    assert wrong == []
