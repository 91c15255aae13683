"""Who can relay: one address of every class of clients that a configuration can tell apart is asked for.

A configuration tells clients apart by the networks that it names. Between their borders all addresses are treated alike, so one
address of each interval stands for all of it, and nothing is missed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, summarize_address_range
from itertools import pairwise
from typing import Final, NamedTuple

from postlatch.audit.values import Finding, LintResult, Severity, Verdict

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MOST_NETWORKS: Final = 1000
MOST_SENTENCES: Final = 20

# Addresses that no stranger on the Internet has, unless something in front takes away the client's own.
PRIVATE_V4: Final = tuple(
    map(
        IPv4Network,
        ("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"),
    )
)
PRIVATE_V6: Final = tuple(map(IPv6Network, ("::1/128", "fc00::/7", "fe80::/10")))
_BRIDGES: Final = (IPv4Network("172.17.0.1/32"), IPv4Network("10.0.2.2/32"), IPv4Network("10.88.0.1/32"))

_EXAMPLES: Final = (IPv4Address("198.51.100.7"), IPv4Address("8.8.8.8"), IPv6Address("2001:db8::7"), IPv6Address("2a00::7"))

# One network of public addresses: up to here it is somebody's own, from there on surely not.
_OWN: Final = {4: 2**8, 6: 2**80}
_STRANGERS: Final = {4: 2**16, 6: 2**96}


class Answer(NamedTuple):
    """Whether a client could relay, and why, in words that end a sentence.

    ``finding``: what to say if strangers get this answer.
    """

    verdict: Verdict
    because: str = ""
    where: str = "anywhere"
    finding: Finding | None = None


CLOSED: Final = Answer(Verdict.CLOSED)


class _Span(NamedTuple):
    first: int
    last: int
    version: int
    private: bool

    @property
    def address(self) -> Address:
        # Not the first address: a network's own address is the one that programs treat in a special way.
        middle = min(self.first + 1, self.last)
        return IPv4Address(middle) if self.version == 4 else IPv6Address(middle)


def judged(
    networks: Iterable[Network], client: Address | None, judge: Callable[[Address], Answer], findings: Iterable[Finding] = ()
) -> LintResult:
    """The result for all clients, or for ``client`` alone. ``networks``: all that the configuration names."""
    found = list(findings)
    if client is not None:
        return _for_one(client, judge(client), found)
    named = list(dict.fromkeys(networks))
    if len(named) > MOST_NETWORKS:
        named = sorted(named, key=lambda network: network.prefixlen - (0 if network.version == 4 else 96))[:MOST_NETWORKS]
        found.append(_too_many())
    answers: dict[tuple[Answer, int], list[_Span]] = {}
    for span in _spans(named):
        answer = judge(span.address)
        if answer.verdict is not Verdict.CLOSED:
            answers.setdefault((answer, span.version), []).append(span)
    verdicts = {Verdict.CLOSED}
    sentences: list[str] = []
    for (answer, version), spans in answers.items():
        verdicts.add(_verdict(answer, spans, version, found))
        if answer.verdict is Verdict.OPEN:
            sentences.append(_sentence(_described(spans, version), answer))
    return LintResult(_worst(verdicts), tuple(dict.fromkeys(sentences))[:MOST_SENTENCES], unique(found))


def unique(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Each once, the worst first, as they came within one severity."""
    order = list(Severity)
    return tuple(sorted(dict.fromkeys(findings), key=lambda finding: order.index(finding.severity)))


def networks_of(text: str) -> Network | None:
    """``10.0.0.0/8``, ``::1``, ``[::1]/128``, ``ipv6:fe80::/10``, ``10.0.0.0/255.0.0.0``; host bits are cut off.

    None: it is no network.
    """
    address = text.strip().replace("[", "").replace("]", "")
    if address[:5].lower() == "ipv6:":
        address = address[5:]
    if len(address) > 60 or not address[:1].strip():
        return None
    try:
        return IPv6Network(address, strict=False) if ":" in address else IPv4Network(address, strict=False)
    except ValueError:
        return None


def _worst(verdicts: set[Verdict]) -> Verdict:
    return next(v for v in (Verdict.OPEN, Verdict.UNKNOWN, Verdict.CLOSED) if v in verdicts)


def _for_one(client: Address, answer: Answer, found: list[Finding]) -> LintResult:
    if answer.finding is not None and answer.verdict is not Verdict.CLOSED:
        found.append(answer.finding)
    sentences = (_sentence(str(client), answer),) if answer.verdict is Verdict.OPEN else ()
    return LintResult(answer.verdict, sentences, unique(found))


def _sentence(who: str, answer: Answer) -> str:
    return f"{who}, not logged in, could send to {answer.where} because {answer.because}"


def _verdict(answer: Answer, spans: list[_Span], version: int, found: list[Finding]) -> Verdict:
    """What the answer means for strangers: a network of one's own may relay."""
    widest = _widest_public(spans)
    if widest <= _OWN[version]:
        if answer.verdict is Verdict.OPEN:
            _warn_of_masks(spans, found)
        return Verdict.CLOSED
    if answer.verdict is Verdict.OPEN and widest <= _STRANGERS[version]:
        found.append(_wide(_described(spans, version), answer))
        return Verdict.UNKNOWN
    if answer.finding is not None:
        found.append(answer.finding)
    return answer.verdict


def _widest_public(spans: list[_Span]) -> int:
    """The size of the longest run of public addresses without a gap."""
    widest, run, end = 0, 0, -2
    for span in spans:
        if span.private:
            continue
        run = run + span.last - span.first + 1 if span.first == end + 1 else span.last - span.first + 1
        end = span.last
        widest = max(widest, run)
    return widest


def _warn_of_masks(spans: list[_Span], found: list[Finding]) -> None:
    for bridge in _BRIDGES:
        place = int(bridge.network_address)
        if any(span.version == 4 and span.first <= place <= span.last for span in spans):
            found.append(
                Finding(
                    "lint.container-gateway",
                    Severity.LOW,
                    f"the gateway of containers, {bridge.network_address}, could relay without logging in",
                    "if this server runs in a container whose port is published through a proxy, every client has this address",
                    "name the machines that need it, not the whole private range; and see that clients keep theirs",
                )
            )
            return


def _wide(who: str, answer: Answer) -> Finding:
    place = answer.finding
    return Finding(
        "lint.wide-network",
        Severity.HIGH,
        f"{who} could relay without logging in: more than one network of yours is likely to be",
        "every customer of that network is trusted like a machine of yours",
        "name the addresses that are yours, at most a /24 each (IPv6: a /48), or let them log in",
        place.file if place else "",
        place.line if place else None,
    )


def _too_many() -> Finding:
    return Finding(
        "lint.many-networks",
        Severity.INFO,
        f"more than {MOST_NETWORKS} networks are named; the widest {MOST_NETWORKS} were judged one by one",
        "the narrow ones that are left out could relay as the configuration says; ask for one of them by --client",
    )


def _spans(networks: list[Network]) -> list[_Span]:
    spans: list[_Span] = []
    for version, private, bits in ((4, PRIVATE_V4, 32), (6, PRIVATE_V6, 128)):
        borders = {0, 1 << bits}
        of_version = [network for network in (*networks, *private, *_BRIDGES) if network.version == version]
        for network in of_version:
            borders.add(int(network.network_address))
            borders.add(int(network.broadcast_address) + 1)
        starts = sorted(borders)
        hidden = _Cover(private)
        spans += [_Span(first, after - 1, version, first in hidden) for first, after in pairwise(starts)]
    return spans


class _Cover:
    """Whether a number lies in one of a few networks that do not overlap."""

    def __init__(self, networks: Iterable[Network]) -> None:
        pairs = sorted((int(network.network_address), int(network.broadcast_address)) for network in networks)
        self._firsts = [first for first, _ in pairs]
        self._lasts = [last for _, last in pairs]

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._firsts, number) - 1
        return at >= 0 and number <= self._lasts[at]


def _described(spans: list[_Span], version: int) -> str:
    size = sum(span.last - span.first + 1 for span in spans)
    everything = 1 << (32 if version == 4 else 128)
    if size == everything:
        return f"every IPv{version} address"
    if size * 2 > everything:
        example = next(
            (str(address) for address in _EXAMPLES if any(_holds(span, address) for span in spans)), str(spans[0].address)
        )
        return f"nearly every IPv{version} address ({example} is one)"
    networks: list[str] = []
    for first, last in _runs(spans):
        make = IPv4Address if version == 4 else IPv6Address
        networks += [_plain(network) for network in summarize_address_range(make(first), make(last))]
    rest = f" and {len(networks) - 6} more networks" if len(networks) > 7 else ""
    return ", ".join(networks[: 6 if rest else 7]) + rest


def _holds(span: _Span, address: Address) -> bool:
    return span.version == address.version and span.first <= int(address) <= span.last


def _runs(spans: list[_Span]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for span in spans:
        if runs and runs[-1][1] + 1 == span.first:
            runs[-1] = (runs[-1][0], span.last)
        else:
            runs.append((span.first, span.last))
    return runs


def _plain(network: Network) -> str:
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)
