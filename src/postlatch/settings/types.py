"""The parsers of ``values`` as pydantic types, each with the words that describe it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    PlainValidator,
    ValidationInfo,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from postlatch.settings import values
from postlatch.settings.kinds import Kind, quote
from postlatch.settings.routes import absolute, parse_network_route, parse_route, parse_smtp_route

T = TypeVar("T")


class Table(BaseModel):
    """A table of the configuration: unknown keys are errors, values never change, defaults are written as in TOML."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def as_toml(value: Any) -> Any:
    """A default as it would be written in the file: it goes through the same parser, and the reference shows it."""
    return value


def danger(message: str) -> PydanticCustomError:
    """An error that is a named danger: well-formed, and not to be run."""
    return PydanticCustomError("danger", "{reason}", {"reason": message})


def _from_text(parse: Callable[[str], T]) -> PlainValidator:
    """For values that are texts in TOML and something else in Python."""

    def validate(value: Any) -> Any:
        if not isinstance(value, str):
            raise PydanticCustomError("string_type", "not a text")
        return parse(value)

    return PlainValidator(validate)


def _number_or(parse: Callable[[str], int], allowed: type | tuple[type, ...]) -> BeforeValidator:
    """For numbers that may also be given as a text with a unit."""

    def validate(value: Any) -> Any:
        if isinstance(value, str):
            return parse(value)
        if isinstance(value, bool) or not isinstance(value, allowed):
            raise PydanticCustomError("int_type", "not a number")
        return value

    return BeforeValidator(validate)


def _auto_or(parse: Callable[[str], int] | None) -> BeforeValidator:
    """For numbers that may also be ``"auto"``, which is 0 once loaded; 0 itself is refused."""

    def validate(value: Any) -> Any:
        if value == "auto":
            return 0
        if isinstance(value, str) and parse is not None:
            value = parse(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise PydanticCustomError("int_type", "not a number")
        if value == 0:
            raise ValueError('must be at least 1, or "auto"')
        return value

    return BeforeValidator(validate)


def _base(info: ValidationInfo) -> Path:
    context: dict[str, Path] = info.context or {}
    return context.get("base", Path())


def _path(value: Any, info: ValidationInfo) -> Path:
    if isinstance(value, Path):
        return _base(info) / value
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", "not a text")
    if not value.strip() or "\0" in value:
        raise ValueError("is empty: write a path")
    if value.startswith("~"):
        raise ValueError(f"{quote(value)}: ~ is not expanded; write the whole path")
    return _base(info) / value


def _store_url(text: str, info: ValidationInfo) -> str:
    scheme, _, path = text.partition(":")
    if scheme in {"postgresql", "postgres"}:
        # Not repeated: such a URL often holds a password.
        raise ValueError('PostgreSQL comes with a later version: use "sqlite:data/postlatch.db"')
    if scheme != "sqlite" or not path:
        raise ValueError(f'{quote(text)} is no database: write "sqlite:PATH", like "sqlite:data/postlatch.db"')
    if path.startswith("//") or path == ":memory:":
        raise ValueError(
            f'{quote(text)}: write the path right behind the colon, "sqlite:data/postlatch.db" or "sqlite:/var/lib/…"'
        )
    return f"sqlite:{_base(info) / path}"


def _deliver(text: str, info: ValidationInfo) -> str:
    return str(absolute(parse_route(text), _base(info)))


def _one_or_many(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _proxies(networks: tuple[values.IPNetwork, ...]) -> tuple[values.IPNetwork, ...]:
    if any(network.prefixlen == 0 for network in networks):
        raise danger("a proxy may not be trusted from everywhere: anybody could name any client address, and so use any right")
    return networks


def _domain_key(wildcard: Callable[[str], Exception]) -> AfterValidator:
    """Keys stay as written (their line is looked up by them) and are brought into one form by ``normalised``."""

    def validate(text: str) -> str:
        if "*" in text or text.startswith("."):
            raise wildcard(text)
        values.parse_domain_name(text)
        return text

    return AfterValidator(validate)


def _wide_open(text: str) -> Exception:
    return danger(
        f"{quote(text)} is a wildcard: every name below it would count, and mail for it would be taken from anybody; "
        "list each domain by its own name"
    )


def _route_for_all(text: str) -> Exception:
    return ValueError(
        f"{quote(text)} is a wildcard: routes are for exact names; what takes everything else is outbound.smarthost"
    )


def _destination_key(text: str) -> str:
    if "*" in text or text.startswith("."):
        raise ValueError(f"{quote(text)} is a wildcard: bounds are for exact names; outbound.max_connections holds for all")
    values.parse_host(text)
    return text


def by_host(tables: Mapping[str, T]) -> Mapping[str, T]:
    """Host names as A-labels, addresses in their short form."""
    return MappingProxyType({values.parse_host(name): table for name, table in tables.items()})


def normalised(tables: Mapping[str, T]) -> Mapping[str, T]:
    """Domain names as A-labels. Of two spellings of one name the last stays; the load reports them as a problem."""
    return MappingProxyType({values.parse_domain_name(name): table for name, table in tables.items()})


@dataclass(frozen=True, slots=True)
class ListOr:
    """Also accept one word, such as ``callout``, in the place of a list of type ``items``."""

    word: str
    items: Any

    def __get_pydantic_core_schema__(self, _source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def validate(value: Any, inner: core_schema.ValidatorFunctionWrapHandler) -> Any:
            if isinstance(value, str) and value != self.word:
                raise ValueError(f'{quote(value)} stands alone: write a list, like ["alice", "bob"], or "{self.word}"')
            return value if isinstance(value, str) else inner(value)

        return core_schema.no_info_wrap_validator_function(validate, handler.generate_schema(self.items))


Whole = Annotated[int, Field(strict=True)]
Name = Annotated[str, AfterValidator(values.parse_name), Kind("a name", "names")]
Line = Annotated[str, AfterValidator(values.parse_line)]
Owner = Annotated[str, AfterValidator(values.parse_owner), Kind("a text that names who vouches for it")]
Day = Annotated[date, PlainValidator(values.parse_day), Kind("a date")]
Domain = Annotated[str, AfterValidator(values.parse_domain_name), Kind("a domain", "domains")]
DomainKey = Annotated[str, _domain_key(_wide_open), Kind("a domain", "domains")]
RouteKey = Annotated[str, _domain_key(_route_for_all), Kind("a domain", "domains")]
DestinationKey = Annotated[str, AfterValidator(_destination_key), Kind("a domain or a host", "domains or hosts")]
Network = Annotated[values.IPNetwork, _from_text(values.parse_network), Kind("a network", "networks")]
Socket = Annotated[str, AfterValidator(values.parse_socket), Kind("an address with its port", "addresses with their ports")]
Endpoint = Annotated[str, AfterValidator(values.parse_endpoint), Kind("an address with its port", "addresses with their ports")]
Sockets = Annotated[tuple[Socket, ...], BeforeValidator(_one_or_many), Kind("an address with its port, or a list of them")]
Proxies = Annotated[tuple[Network, ...], AfterValidator(_proxies)]
Mailbox = Annotated[str, AfterValidator(values.parse_mailbox), Kind("an address", "addresses")]
LocalPart = Annotated[str, AfterValidator(values.parse_local_part), Kind("a local part", "local parts")]
Recipients = Annotated[
    tuple[str, ...] | Literal["callout"], ListOr("callout", tuple[LocalPart, ...]), Kind('a list of local parts, or "callout"')
]
AliasName = Annotated[str, AfterValidator(values.parse_alias_name)]
AliasTarget = Annotated[str, AfterValidator(values.parse_alias_target), Kind("a mailbox", "mailboxes")]
Aliases = Annotated[
    Mapping[AliasName, tuple[AliasTarget, ...]],
    AfterValidator(MappingProxyType),
    Kind("a table"),
]
Pattern = Annotated[str, AfterValidator(values.parse_pattern), Kind("an address or @domain", "addresses or @domains")]
SenderPattern = Annotated[
    str, AfterValidator(values.parse_sender_pattern), Kind("an address or @domain", "addresses or @domains")
]
Limits = Annotated[
    tuple[Annotated[str, AfterValidator(values.parse_limit), Kind("a limit", "limits")], ...],
    AfterValidator(values.parse_limits),
    Kind("a list of limits"),
]
Rate = Annotated[str, AfterValidator(values.parse_limit), Kind("a number in a time")]
Duration = Annotated[int, _from_text(values.parse_duration), Kind("a length of time")]
Seconds = Annotated[float, _number_or(values.parse_duration, (int, float)), Kind("seconds, or a text with a unit")]
Size = Annotated[int, _number_or(values.parse_size, int), Kind("octets, or a text with a unit")]
AutoWhole = Annotated[int, _auto_or(None), Kind('a whole number, or "auto"')]
AutoSize = Annotated[int, _auto_or(values.parse_size), Kind('octets, a text with a unit, or "auto"')]
ClientCertificates = Annotated[
    Mapping[
        Annotated[str, AfterValidator(values.parse_fingerprint), Kind("a fingerprint", "fingerprints")],
        Annotated[str, AfterValidator(values.parse_line)],
    ],
    AfterValidator(MappingProxyType),
]
FilePath = Annotated[Path, PlainValidator(_path), Kind("a path")]
StoreUrl = Annotated[str, AfterValidator(_store_url), Kind("a database URL")]
Deliver = Annotated[str, AfterValidator(_deliver), Kind("a route")]
SmtpRoute = Annotated[str, AfterValidator(parse_smtp_route), Kind("a route over SMTP")]
NetworkRoute = Annotated[str, AfterValidator(parse_network_route), Kind("a route over SMTP or LMTP")]
TlsLevel = Literal["opportunistic", "required", "verify"]
