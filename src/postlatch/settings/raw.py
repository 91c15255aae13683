"""Looking into raw TOML data of which nothing is known yet: what has the wrong type is as if it were not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from postlatch.model.address import AddressError, parse_domain


def tables(data: Mapping[str, Any], key: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The tables of a list of tables, with their indexes."""
    value = data.get(key)
    if isinstance(value, list):
        yield from ((index, item) for index, item in enumerate(value) if isinstance(item, dict))


def sub_table(data: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A table, or an empty one."""
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def texts(value: Any) -> Iterator[tuple[int, str]]:
    """The texts of a list, with their indexes."""
    if isinstance(value, list):
        yield from ((index, item) for index, item in enumerate(value) if isinstance(item, str))


def domain_tables(data: Mapping[str, Any], key: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(name as written, A-label name, table) of a table whose keys are domains; names that are none are left out."""
    for raw, value in sub_table(data, key).items():
        try:
            yield raw, parse_domain(raw), value if isinstance(value, dict) else {}
        except AddressError:
            continue
