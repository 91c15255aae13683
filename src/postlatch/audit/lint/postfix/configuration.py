"""A whole configuration: main.cf, master.cf, and what a client of an address could do through all its services."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NamedTuple

from postlatch.audit.lint.postfix.cf import Service, Setting, read_main, read_master
from postlatch.audit.lint.postfix.choices import Sayings
from postlatch.audit.lint.postfix.expand import Parameters
from postlatch.audit.lint.postfix.files import Place
from postlatch.audit.lint.postfix.lists import MatchList, networks_in
from postlatch.audit.lint.postfix.relaying import Way, way_through
from postlatch.audit.lint.postfix.service import SmtpService, reaches
from postlatch.audit.lint.postfix.tables import LookupFails, Tables, Unreadable
from postlatch.audit.lint.postfix.walk import Client
from postlatch.audit.lint.problem import LintError
from postlatch.audit.lint.survey import Address, Network, networks_of

_MOST_CLAIMS: Final = 40


class Passage(NamedTuple):
    """A way through one service.

    ``by``: what lets the client be somebody else first (XCLIENT, a PROXY header), if that is needed, and ``claimed`` whom.
    """

    service: SmtpService
    way: Way
    by: str = ""
    claimed: str = ""


class Configuration:
    """What stands in a directory. LintError if it is none of Postfix."""

    def __init__(self, path: Path) -> None:
        directory = path.parent if path.is_file() else path
        main = path if path.is_file() else directory / "main.cf"
        self.place = Place(directory.absolute())
        self.tables = Tables(self.place)
        self.main = {name: _local(setting, self.place) for name, setting in read_main(main).items()}
        self.main_file = self.place.shown(main.absolute())
        self.master_file = self.place.shown((directory / "master.cf").absolute())
        self.has_master = (directory / "master.cf").is_file()
        self.services = self._services(directory / "master.cf")
        self.parameters = Parameters(self.main, self.place.directory)
        self.smtpd = [self._smtpd(service) for service in self.services if service.command == "smtpd"]
        self._sayings: dict[int, Sayings] = {}
        # Everything that is judged is expanded now, so that a circle is an error with a message and not a crash later.
        for name in self.main:
            self.parameters.get(name)

    def _services(self, path: Path) -> list[Service]:
        if not self.has_master:
            return [Service("smtp", "inet", "smtpd", (), self.main_file, 1)]
        services = read_master(path)
        if not services:
            raise LintError("has no services", str(path))
        shown = self.place.shown(path.absolute())
        return [
            service._replace(file=shown, settings=tuple(_local(setting, self.place) for setting in service.settings))
            for service in services
        ]

    def _smtpd(self, service: Service) -> SmtpService:
        return SmtpService(service, Parameters(self.main, self.place.directory, service), self.place, self.tables)

    @cached_property
    def screened(self) -> list[Service]:
        """The services in which a postscreen listens."""
        return [service for service in self.services if service.command == "postscreen" and service.kind == "inet"]

    def networks(self) -> Iterator[Network]:
        """All networks that the configuration tells apart."""
        for smtpd in self.smtpd:
            for name in ("mynetworks", "smtpd_authorized_xclient_hosts"):
                yield from smtpd.match_list(name).networks()
            for restriction, argument in smtpd.used():
                if argument and restriction in {"check_client_access", "check_reverse_client_hostname_access"}:
                    yield from networks_in(smtpd.table(argument))
            yield from _patterned(self.sayings(smtpd))
        for service in self.services:
            if service.command == "qmqpd":
                yield from self.qmqp_clients(service).networks()

    def sayings(self, smtpd: SmtpService) -> Sayings:
        """What can be said to a service; worked out once."""
        return self._sayings.setdefault(id(smtpd), Sayings(smtpd))

    def qmqp_clients(self, service: Service) -> MatchList:
        """Who may use a qmqpd, which asks nothing else."""
        parameters = Parameters(self.main, self.place.directory, service)
        parents = "qmqpd_authorized_clients" in parameters.get("parent_domain_matches_subdomains")
        return MatchList(parameters.get("qmqpd_authorized_clients"), self.place, self.tables, parents=parents)

    def passages(self, address: Address, *, asked: bool) -> Iterator[Passage]:
        """Every service through which a client of that address could relay."""
        for smtpd in self.smtpd:
            if not self._reaches(smtpd.service, address) or not smtpd.starts():
                continue
            if (passage := self._passage(smtpd, Client(address, asked))) is not None:
                yield passage

    def _passage(self, smtpd: SmtpService, client: Client) -> Passage | None:
        sayings = self.sayings(smtpd)
        if smtpd.parameters.get("smtpd_upstream_proxy_protocol").strip():
            return self._claimed(smtpd, client, "smtpd_upstream_proxy_protocol", "not only the proxy can connect")
        way = way_through(smtpd, sayings, client)
        if way is not None and not way.assumed:
            return Passage(smtpd, way)
        try:
            authorized = smtpd.match_list("smtpd_authorized_xclient_hosts").host(client.address, lambda: "unknown")
        except (Unreadable, LookupFails):
            authorized = None
        claimed = self._claimed(smtpd, client, "smtpd_authorized_xclient_hosts", "") if authorized is not None else None
        return claimed or (Passage(smtpd, way) if way is not None else None)

    def _claimed(self, smtpd: SmtpService, client: Client, by: str, assumed: str) -> Passage | None:
        """A way for a client that says it is somebody else."""
        logs_in = by == "smtpd_authorized_xclient_hosts"
        claims = [
            client.address,
            ip_address("127.0.0.1"),
            *(net.network_address for net in smtpd.match_list("mynetworks").networks()),
        ]
        for address in claims[:_MOST_CLAIMS]:
            way = way_through(smtpd, self.sayings(smtpd), Client(address, asked=False, logged_in=logs_in))
            if way is not None:
                return Passage(smtpd, way._replace(assumed=(*way.assumed, *([assumed] if assumed else []))), by, str(address))
        return None

    def _reaches(self, service: Service, address: Address) -> bool:
        if service.kind == "pass":
            return any(reaches(screen, address, self.parameters, screened=False) for screen in self.screened)
        return reaches(service, address, self.parameters, screened=False)

    def reaches(self, service: Service, address: Address) -> bool:
        """Whether a client of that address can connect to a service."""
        return self._reaches(service, address)


def _local(setting: Setting, place: Place) -> Setting:
    return setting._replace(file=place.shown(Path(setting.file).absolute()))


def _patterned(sayings: Sayings) -> Iterator[Network]:
    """Where patterns judge addresses there are no borders to see: an address of each /8, and those that they match."""
    if not sayings.patterns_of_clients():
        return
    for octet in range(1, 224):
        if (network := networks_of(f"{octet}.0.0.0/8")) is not None:
            yield network
    for address in sayings.addresses():
        if (network := networks_of(f"{address}/24")) is not None:
            yield network
