"""The configuration as frozen values. Python names are TOML keys; defaults are written as they would be in TOML.

Every description below is also the reference (``python -m postlatch.settings.reference``): write for administrators.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, PrivateAttr, model_validator

from postlatch.model.envelope import Role
from postlatch.settings import types as t
from postlatch.settings import values
from postlatch.settings.bans import BanSettings
from postlatch.settings.directory import DirectorySettings
from postlatch.settings.limits import LimitSettings
from postlatch.settings.oauth import OAuthSettings
from postlatch.settings.origin import Origin
from postlatch.settings.overload import OverloadSettings
from postlatch.settings.problem import Problem
from postlatch.settings.reputation import GreylistSettings, ReputationSettings
from postlatch.settings.rights import RelayDomainSettings, RightSettings
from postlatch.settings.selfaudit import AuditSettings
from postlatch.settings.senderauth import AuthenticationSettings, DkimSettings, Dmarc, ReportSettings
from postlatch.settings.session import AccountsSettings, SessionSettings
from postlatch.settings.submission import SendmailSettings, SubmissionSettings
from postlatch.settings.tomlines import KeyPath
from postlatch.settings.types import Table
from postlatch.settings.wayout import ByAccount, BySender


class StoreSettings(Table):
    """Where the queue, the accounts, the rights and the journal are kept."""

    url: t.StoreUrl | None = Field(
        default=None,
        examples=['"sqlite:data/postlatch.db"'],
        description="The database: `sqlite:PATH`. Without it, `postlatch.db` inside `data_dir`.",
    )


class ListenerSettings(Table):
    """One door: addresses on which mail is taken, and for whom. Repeat the table for every door."""

    name: t.Name = Field(examples=['"mx"'], description="How logs, rights, metrics and commands call it; unique.")
    address: t.Sockets = Field(
        min_length=1,
        examples=['["0.0.0.0:25", "[::]:25"]'],
        description="`ADDRESS:PORT`, one text or a list. IPv6 sockets are IPv6 only. Port 0 takes any free port.",
    )
    role: Role = Field(
        examples=['"mx"'],
        description="`mx`: mail from strangers for our domains. `submission`: people log in after STARTTLS. `submissions`: the "
        "same with TLS from the first byte. `relay`: machines with a network right, without login.",
    )
    proxies: t.Proxies = Field(
        default=(),
        examples=['["10.0.0.5"]'],
        description="Addresses of proxies that speak the PROXY protocol (version 1 or 2). Nobody else may connect then, and "
        "the client's address is the one that the proxy names ([masking.md](masking.md)).",
    )


class TlsSettings(Table):
    """The certificate that clients see. A renewed file is taken up by itself."""

    certificate: t.FilePath = Field(
        examples=['"cert.pem"'], description="PEM file: the server's certificate, then its intermediate certificates."
    )
    key: t.FilePath = Field(examples=['"key.pem"'], description="PEM file: the private key, without a passphrase.")
    channel_binding: bool = Field(
        default=False,
        examples=["true"],
        description="Offer SCRAM-SHA-256-PLUS, bound to the certificate (`tls-server-end-point`). A client that prefers it and "
        "knows only another binding (`tls-exporter`, `tls-unique`) cannot log in then.",
    )
    client_ca: t.FilePath | None = Field(
        default=None,
        examples=['"clients.pem"'],
        description="PEM file: the authorities that vouch for clients' certificates. With it, clients of `submission` and "
        "`submissions` listeners may log in by a certificate (`EXTERNAL`). One that does not verify ends the TLS handshake.",
    )
    client_certificates: t.ClientCertificates = Field(
        default=t.as_toml({}),
        examples=['{ "9f86d081…0a08" = "printer" }'],
        description="Logins by certificate: its SHA-256 fingerprint in hexadecimal, with colons or without, and the account. "
        "An empty account refuses this certificate.",
    )
    client_addresses: bool = Field(
        default=False,
        examples=["true"],
        description="A certificate that is not listed stands for the addresses in it (`rfc822Name`), where they are accounts. "
        "Only where the authority gives them to none but their owners.",
    )


class DomainSettings(Table):
    """A domain of ours, by its exact name (subdomains are listed by themselves): who in it receives mail, and where it goes."""

    deliver: t.Deliver = Field(
        examples=['"maildir:data/mail"'],
        description="`maildir:PATH` (mail goes to `PATH/<domain>/<local part>/`), `lmtp://HOST:PORT`, `lmtp+unix:///PATH` or "
        "`smtp://HOST:PORT`. Mail for this domain never goes anywhere else.",
    )
    recipients: t.Recipients = Field(
        default=(),
        examples=['["alice", "bob"]'],
        description='The local parts that receive mail, without case; or `"callout"`: ask the next hop, and remember.',
    )
    aliases: t.Aliases = Field(
        default=t.as_toml({}),
        examples=['{ info = ["alice", "bob"] }'],
        description="Further local parts, and the mailboxes of our own domains that get their mail: `alice` or "
        '`alice@example.org`. `"*"` catches everything that is not listed.',
    )
    _raw_name: str = PrivateAttr(default="")

    @property
    def raw_name(self) -> str:
        """The name as it stands in the file; the key in ``Settings.domains`` is its A-label form."""
        return self._raw_name

    def named(self, raw_name: str, domain: str) -> Self:
        """A copy that knows its name, with every alias target as a whole address."""
        whole = {
            name: tuple(values.whole_address(target, domain) for target in targets) for name, targets in self.aliases.items()
        }
        copy = self.model_copy(update={"aliases": MappingProxyType(whole)})
        copy._raw_name = raw_name
        return copy


def _name_domains(tables: Mapping[str, DomainSettings]) -> Mapping[str, DomainSettings]:
    return t.normalised({raw: table.named(raw, values.parse_domain_name(raw)) for raw, table in tables.items()})


class RouteSettings(Table):
    """Where the mail of one recipient domain goes; a plain text is the same as `{ to = TEXT }`."""

    to: t.SmtpRoute = Field(examples=['"smtp://mail.partner.example:25"'], description="The next hop, `smtp://HOST:PORT`.")
    tls: t.TlsLevel | None = Field(
        default=None, examples=['"verify"'], description="TLS towards it; without it, `outbound.tls`. Always set once loaded."
    )

    @model_validator(mode="before")
    @classmethod
    def _plain_text(cls, value: object) -> object:
        return {"to": value} if isinstance(value, str) else value


class DestinationSettings(Table):
    """What one destination may get: a recipient domain that is sent to by its MX, or the host of a route or the smarthost."""

    connections: t.Whole | None = Field(
        default=None,
        ge=1,
        le=10_000,
        examples=["5"],
        description="Connections at once, at most; without it, as for all. Found by its replies within this bound.",
    )
    rate: t.Rate | None = Field(
        default=None,
        examples=['"60/minute"'],
        description="Messages in a time, at most: `N/second`, `N/minute`, `N/hour` or `N/day`, spread evenly. Without it, as "
        "fast as it takes them.",
    )
    messages_per_connection: t.Whole | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        examples=["100"],
        description="Messages until a connection is closed and another one opened; without it, no bound.",
    )


class OutboundSettings(Table):
    """Mail that leaves."""

    smarthost: t.SmtpRoute | None = Field(
        default=None,
        examples=['"smtp://relay.isp.example:587"'],
        description="Takes everything for elsewhere. Without it, mail goes straight to the recipients' MX hosts.",
    )
    username: t.Line | None = Field(
        default=None,
        examples=['"relay@example.com"'],
        description='Login at the smarthost; needs `password_file` and `tls = "verify"`.',
    )
    password_file: t.FilePath | None = Field(
        default=None, examples=['"smarthost.secret"'], description="A file whose first line is the smarthost's password."
    )
    tls: t.TlsLevel = Field(
        default="opportunistic",
        examples=['"verify"'],
        description="`opportunistic`: where offered, without checking names. `required`: else the mail waits. `verify`: "
        "required, and the certificate must name the host.",
    )
    resolver: tuple[t.Endpoint, ...] = Field(
        default=(), examples=['["127.0.0.1:53"]'], description="DNS resolvers to ask. Empty: the system's (`/etc/resolv.conf`)."
    )
    dnssec: bool = Field(
        default=False,
        examples=["true"],
        description="The resolvers of `resolver` validate by DNSSEC and are believed: then DANE decides about TLS towards mail "
        "hosts with TLSA records. Only for resolvers on loopback.",
    )
    resolver_trusted: t.Line = Field(
        default="",
        examples=['"why"'],
        description="The reason for which a resolver beyond loopback is believed with `dnssec`, in writing: whoever sits on "
        "the way to it can forge its answers.",
    )
    mta_sts: bool = Field(
        default=True,
        examples=["false"],
        description="Whether the MTA-STS policies of recipient domains are fetched, kept and followed.",
    )
    routes: Annotated[Mapping[t.RouteKey, RouteSettings], AfterValidator(t.normalised)] = Field(
        default=t.as_toml({}),
        examples=['{ "partner.example" = "smtp://mail.partner.example:25" }'],
        description='Next hops by recipient domain, exact names: a route, or `{ to = "smtp://…", tls = "verify" }`.',
    )
    destinations: Annotated[Mapping[t.DestinationKey, DestinationSettings], AfterValidator(t.by_host)] = Field(
        default=t.as_toml({}),
        description="Bounds for single destinations, exact names: `connections`, `rate`, `messages_per_connection`.",
    )
    by_account: ByAccount = Field(
        default=t.as_toml({}), description="Ways out of their own by the account that sent the mail; before `by_sender`."
    )
    by_sender: BySender = Field(
        default=t.as_toml({}),
        description="Ways out of their own by envelope sender, `user@example.com` before `@example.com`. Bounces have none.",
    )
    max_age: t.Duration = Field(
        default=t.as_toml("5 days"), examples=['"5 days"'], description="How long delivery is tried before the mail bounces."
    )
    warn_after: t.Duration = Field(
        default=t.as_toml("4 hours"), examples=['"4 hours"'], description="When the sender is told that mail is waiting."
    )
    max_connections: t.Whole = Field(
        default=100, ge=1, le=10_000, examples=["100"], description="Outgoing connections at once."
    )

    @model_validator(mode="after")
    def _settle_tls(self) -> Self:
        settled = {
            name: route if route.tls is not None else route.model_copy(update={"tls": self.tls})
            for name, route in self.routes.items()
        }
        object.__setattr__(self, "routes", MappingProxyType(settled))
        return self


class AlertSettings(Table):
    """Who is told when something needs a person."""

    to: tuple[t.Mailbox, ...] = Field(
        default=(), examples=['["ops@example.com"]'], description="Addresses that get the alerts by mail."
    )


class RetentionSettings(Table):
    """How long things are kept."""

    journal: t.Duration = Field(
        default=t.as_toml("90 days"),
        examples=['"90 days"'],
        description="The journal. Whole days are dropped; their sealed heads are kept.",
    )
    queue: t.Duration = Field(
        default=t.as_toml("7 days"),
        examples=['"7 days"'],
        description="Delivered, bounced and deleted recipients, so that they can be looked up.",
    )


class HttpSettings(Table):
    """The dashboard, the API, `/metrics`, `/healthz` and `/readyz`."""

    address: t.Socket = Field(
        default="127.0.0.1:8025", examples=['"127.0.0.1:8025"'], description="`ADDRESS:PORT`; keep it off the internet."
    )


class LogSettings(Table):
    """What the program says of itself on standard error; the journal is kept apart from it."""

    format: Literal["console", "json"] = Field(
        default="console",
        examples=['"json"'],
        description="`console`: lines for people. `json`: one object a line, for collectors.",
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", examples=['"info"'], description="The least serious level that is shown."
    )


class Settings(Table):
    """The whole file. Relative paths are relative to it, times are UTC, unknown keys are errors."""

    hostname: t.Domain = Field(
        examples=['"mx.example.com"'],
        description="This server's name, in its greeting, in EHLO and in Received; should resolve back to it.",
    )
    data_dir: t.FilePath = Field(
        default=t.as_toml("data"), examples=['"data"'], description="Where everything that must survive a restart is kept."
    )
    user: t.Line | None = Field(
        default=None,
        examples=['"postlatch"'],
        description="The user that the server becomes once its ports are bound. Started as root without it, the server "
        "warns and goes on.",
    )
    store: StoreSettings = Field(default=t.as_toml({}), description="The database.")
    listeners: tuple[ListenerSettings, ...] = Field(min_length=1, description="The doors.")
    tls: TlsSettings | None = Field(default=None, description="The certificate. Without it no password is ever taken.")
    domains: Annotated[Mapping[t.DomainKey, DomainSettings], AfterValidator(_name_domains)] = Field(
        default=t.as_toml({}), description="Our domains."
    )
    relay_domains: Annotated[Mapping[t.DomainKey, RelayDomainSettings], AfterValidator(t.normalised)] = Field(
        default=t.as_toml({}), description="Domains that we relay to."
    )
    rights: tuple[RightSettings, ...] = Field(default=(), description="Network rights.")
    limits: LimitSettings = Field(default=t.as_toml({}), description="Limits.")
    bans: BanSettings = Field(default=t.as_toml({}), description="Those who try to break in.")
    session: SessionSettings = Field(default=t.as_toml({}), description="The bounds of one SMTP session.")
    overload: OverloadSettings = Field(default=t.as_toml({}), description="What the relay holds at once.")
    submission: SubmissionSettings = Field(default=t.as_toml({}), description="Mail that accounts send.")
    sendmail: SendmailSettings = Field(default=t.as_toml({}), description="Mail of local programs.")
    outbound: OutboundSettings = Field(default=t.as_toml({}), description="Mail that leaves.")
    authentication: AuthenticationSettings = Field(default=t.as_toml({}), description="How senders are checked.")
    dmarc: Dmarc = Field(default=t.as_toml({}), description="What is done when a sender's DMARC policy is not met.")
    dkim: DkimSettings = Field(default=t.as_toml({}), description="Signatures of our mail.")
    reports: ReportSettings = Field(default=t.as_toml({}), description="Reports about mail authentication.")
    reputation: ReputationSettings = Field(default=t.as_toml({}), description="What strangers are judged by.")
    greylisting: GreylistSettings = Field(default=t.as_toml({}), description="Who is asked to come back.")
    oauth: OAuthSettings | None = Field(default=None, description="Logins by the tokens of an identity provider.")
    accounts: AccountsSettings = Field(default=t.as_toml({}), description="How passwords are kept.")
    directories: Mapping[t.Name, DirectorySettings] = Field(
        default=t.as_toml({}), description="Who else knows passwords, by domain ([logins.md](logins.md))."
    )
    audit: AuditSettings = Field(default=t.as_toml({}), description="The relay's audit of itself.")
    alerts: AlertSettings = Field(default=t.as_toml({}), description="Who is told.")
    retention: RetentionSettings = Field(default=t.as_toml({}), description="How long things are kept.")
    http: HttpSettings = Field(default=t.as_toml({}), description="The dashboard.")
    log: LogSettings = Field(default=t.as_toml({}), description="The log.")
    _origin: Origin = PrivateAttr(default_factory=Origin)

    @property
    def origin(self) -> Origin:
        """The file that this came from."""
        return self._origin

    def read_from(self, origin: Origin) -> Self:
        """Remember the file; two settings are equal if their values are, whatever their files."""
        self._origin = origin
        return self

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.data_dir / "postlatch.db" if self.store.url is None else Path(self.store.url.removeprefix("sqlite:"))

    def problem(self, key: str | KeyPath, message: str, *, danger: bool = False) -> Problem:
        """A problem that was found later, with its file and line.

        ``key`` is a path as in TOML, or a text like ``rights.printers.networks``: members of lists may be called by name.
        """
        return self._origin.problem(key, message, danger=danger)
