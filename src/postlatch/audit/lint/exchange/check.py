"""Who could relay through the receive connectors of Exchange."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final

from postlatch.audit.lint.exchange.export import ANY_RECIPIENT, LOCAL_SENDER, Connector, Export, load
from postlatch.audit.lint.reading import Budget, shown
from postlatch.audit.lint.rows import Row
from postlatch.audit.lint.survey import CLOSED, Answer, Network, judged
from postlatch.audit.values import Finding, LintResult, Severity, Verdict

_STEPS: Final = 2_000_000
_WIDE: Final = {4: 2**16, 6: 2**96}


def lint(path: Path, client: IPv4Address | IPv6Address | None) -> LintResult:
    """``path``: an exported JSON or CSV file, or a folder of them. LintError if it holds no connectors."""
    export = load(path)
    judge = _Judge(export)
    networks: list[Network] = [
        network for connector in export.connectors for range_ in connector.ranges for network in range_.networks()
    ]
    return judged(networks, client, judge.answer, _faults(export))


class _Judge:
    def __init__(self, export: Export) -> None:
        self._budget = Budget(_STEPS)
        self._connectors = export.connectors
        self._everything = next((row for row in export.domains if row.text("domainname").strip() == "*"), None)
        self._bindings = {binding for connector in export.connectors for binding in connector.bindings}

    def answer(self, client: IPv4Address | IPv6Address) -> Answer:
        """For one client, which may connect to every binding."""
        best = CLOSED
        for binding in self._bindings:
            connector = self._chosen(binding, client)
            answer = CLOSED if connector is None else self._through(connector)
            if answer.verdict is Verdict.OPEN:
                return answer
            best = answer if best.verdict is Verdict.CLOSED else best
        return best

    def _chosen(self, binding: str, client: IPv4Address | IPv6Address) -> Connector | None:
        """The connector of the binding whose narrowest fitting range is the narrowest of all."""
        best: tuple[int, Connector] | None = None
        for connector in self._connectors:
            self._budget.spend(1 + len(connector.ranges) // 8)
            if (
                binding in connector.bindings
                and (size := connector.fit(client)) is not None
                and (best is None or size < best[0])
            ):
                best = size, connector
        return None if best is None else best[1]

    def _through(self, connector: Connector) -> Answer:
        if "externalauthoritative" in connector.mechanisms and "exchangeservers" in connector.groups:
            return _open(
                "exchange.external-authoritative", connector, "is externally secured: every client counts as an Exchange server"
            )
        if connector.rights is not None and ANY_RECIPIENT in connector.rights:
            return _open(
                "exchange.anonymous-relay", connector, "gives ANONYMOUS LOGON the right Ms-Exch-SMTP-Accept-Any-Recipient"
            )
        anonymous = "anonymoususers" in connector.groups or bool(connector.rights)
        if anonymous and self._everything is not None:
            return _any_domain(self._everything)
        if connector.rights is None and (anonymous or "custom" in connector.groups):
            return _unexported(connector)
        return CLOSED


_FIXES: Final = {
    "exchange.external-authoritative": "Set-ReceiveConnector NAME -AuthMechanism Tls -PermissionGroups AnonymousUsers; "
    "for machines that must relay, a connector of its own with RemoteIPRanges that name them",
    "exchange.anonymous-relay": "Get-ReceiveConnector NAME | Remove-ADPermission -User 'NT AUTHORITY\\ANONYMOUS LOGON' "
    "-ExtendedRights Ms-Exch-SMTP-Accept-Any-Recipient; or RemoteIPRanges that name the machines that must relay",
}


def _open(id_: str, connector: Connector, what: str) -> Answer:
    finding = Finding(
        id_,
        Severity.CRITICAL,
        f"the receive connector {connector.name!r} {what}, and strangers reach it",
        "anybody can send mail to anybody through this server",
        _FIXES[id_],
        connector.row.file,
        connector.row.line,
    )
    return Answer(Verdict.OPEN, f"the receive connector {connector.name!r} {what}", finding=finding)


def _any_domain(row: Row) -> Answer:
    finding = Finding(
        "exchange.any-domain",
        Severity.CRITICAL,
        f"the accepted domain * ({shown(row.text('domaintype'), 40)}) makes every recipient acceptable",
        "anybody can send mail to anybody through this server",
        "Remove-AcceptedDomain for *, and name the domains",
        row.file,
        row.line,
    )
    return Answer(Verdict.OPEN, "the accepted domain * makes every recipient acceptable", finding=finding)


def _unexported(connector: Connector) -> Answer:
    finding = Finding(
        "exchange.permissions-missing",
        Severity.MEDIUM,
        f"the rights of ANONYMOUS LOGON on the receive connector {connector.name!r} were not exported",
        "the right Ms-Exch-SMTP-Accept-Any-Recipient lets strangers send to anybody",
        "export them too: Get-ReceiveConnector | Get-ADPermission",
        connector.row.file,
        connector.row.line,
    )
    return Answer(Verdict.UNKNOWN, "the rights on the connector decide", finding=finding)


def _faults(export: Export) -> Iterator[Finding]:
    for connector in export.connectors:
        yield from _of_connector(connector)
    for row in export.domains:
        if row.text("domaintype").lower() == "internalrelay" and row.flag("addressbookenabled") is False:
            yield _at(
                row,
                "exchange.unknown-recipients",
                Severity.MEDIUM,
                f"recipients of {shown(row.text('domainname'), 80)} are not checked",
                "mail for names that do not exist is taken and bounced to forged senders",
                "Set-AcceptedDomain NAME -AddressBookEnabled $true, or refuse unknown ones at the edge",
            )
    for row in export.organization:
        if row.flag("rejectdirectsend") is False:
            yield _at(
                row,
                "exchange.direct-send",
                Severity.MEDIUM,
                "RejectDirectSend is off",
                "anybody can send mail in the name of your users to your users without a login",
                "Set-OrganizationConfig -RejectDirectSend $true, after giving devices a connector",
            )
    for row in export.inbound:
        by_certificate = row.text("tlssendercertificatename") and row.flag("restrictdomainstocertificate") is not False
        if row.text("connectortype").lower() == "onpremises" and not by_certificate and not row.text("senderipaddresses"):
            yield _at(
                row,
                "exchange.inbound-connector",
                Severity.HIGH,
                f"the inbound connector {shown(row.text('name', 'identity'), 80)!r} asks for neither address nor certificate",
                "whoever names one of your domains may relay as if it were your own server",
                "Set-InboundConnector NAME -TlsSenderCertificateName ... -RequireTls $true",
            )


def _of_connector(connector: Connector) -> Iterator[Finding]:
    wide = any(range_.size > _WIDE[range_.version] for range_ in connector.ranges)
    row, name = connector.row, connector.name
    if "basicauth" in connector.mechanisms and "basicauthrequiretls" not in connector.mechanisms:
        yield _at(
            row,
            "exchange.clear-password",
            Severity.HIGH,
            f"the receive connector {name!r} takes passwords without TLS",
            "who reads the network can send as the users",
            "Set-ReceiveConnector NAME -AuthMechanism Tls,BasicAuth,BasicAuthRequireTLS",
        )
    if wide and connector.rights is not None and LOCAL_SENDER in connector.rights:
        yield _at(
            row,
            "exchange.local-spoof",
            Severity.MEDIUM,
            f"strangers may use senders of your own domains on the receive connector {name!r}",
            "mail in the name of your users reaches your users",
            "Get-ReceiveConnector NAME | Remove-ADPermission -User 'NT AUTHORITY\\ANONYMOUS LOGON' -ExtendedRights "
            "Ms-Exch-SMTP-Accept-Authoritative-Domain-Sender",
        )
    if not wide and connector.rights is not None and ANY_RECIPIENT in connector.rights:
        yield _at(
            row,
            "exchange.relay-by-address",
            Severity.INFO,
            f"the receive connector {name!r} relays for the addresses {shown(row.text('remoteipranges'), 120)}",
            "if one of them is a load balancer or a NAT box, strangers arrive with it",
            "see in the protocol log that only the machines you know use the connector",
        )


def _at(row: Row, id_: str, severity: Severity, message: str, why: str, fix: str) -> Finding:
    return Finding(id_, severity, message, why, fix, row.file, row.line)
