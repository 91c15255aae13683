"""The second opinion: what each decision should be, worked out again from the raw snapshot in the plainest way.

It shares no code with the rules, so that one mistake cannot hide in both; a test holds its imports to the model and to the
snapshot's types, of which it reads the configured fields only. It may be slow where the rules must be fast.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import NamedTuple, TypeAlias

from postlatch.model.address import Address
from postlatch.model.envelope import Destination, GrantReason, IPAddress, Role
from postlatch.policy.snapshot import LocalDomain, RelayDomain, Right, Snapshot

MAX_V4 = 256  # addresses of all rights without ``wide`` on one listener, together
MAX_V6 = 2**64
# Many clients hide behind each of these (AUDIT I05 to I08), so no right holds for them unless it says why in ``masked``.
_MASKS = frozenset(map(ip_address, ("172.17.0.1", "10.88.0.1", "10.0.2.2", "192.168.65.1", "10.42.0.1", "10.244.0.1")))


Others: TypeAlias = Sequence[tuple[str, tuple[Address, ...] | None]]


class Party(NamedTuple):
    """One class of client in one state. ``identity`` is False behind PROXY LOCAL or UNKNOWN."""

    listener: str
    client: IPAddress
    account: str | None = None
    sender: Address | None = None
    tls: bool = True
    identity: bool = True
    spf: str | None = None
    helo: str = ""
    credential: str | None = None


class Author(NamedTuple):
    """What was found out about the author of a message: a DMARC result, what is asked for, and who sealed it."""

    result: str
    asked: str
    sealer: str = ""


class Voice(NamedTuple):
    """Someone who answers for a party: an account or a right, and the recipients that a right is limited to."""

    reason: GrantReason
    ref: str
    recipients: tuple[str, ...] = ()


class Voices(NamedTuple):
    """All who answer for a party; ``against`` says why nobody does."""

    all: tuple[Voice, ...]
    against: str = ""


class Place(NamedTuple):
    """Where a recipient is, and whether it can get mail at all; ``against`` says why not."""

    destination: Destination
    against: str = ""


def holders(snapshot: Snapshot, listener: str, client: IPAddress) -> list[Right]:
    """The rights that a client has by its address, whatever their dates and senders."""
    plain = _plain(client)
    masked = plain.is_loopback or plain in _MASKS
    found = [right for right in snapshot.rights if listener in right.listeners and _covers(right, plain)]
    return [right for right in found if right.masked or not masked]


def voices(snapshot: Snapshot, now: float, party: Party, held: Iterable[Right]) -> Voices:
    """Who answers for this party; ``held`` is what ``holders`` says of its address."""
    role = snapshot.listeners[party.listener].role
    if role == Role.MX:
        return Voices((), "on mx nobody answers for a sender")
    if role == Role.RELAY:
        return _rights(now, party, held)
    return _account(snapshot, now, party)


def mail_against(snapshot: Snapshot, party: Party, heard: Voices) -> str:
    """Why MAIL must not be accepted; empty if it may be."""
    if snapshot.listeners[party.listener].role != Role.MX:
        return "" if heard.all else heard.against
    if party.sender is None or party.sender.domain not in snapshot.local_domains:
        return ""
    if party.spf == "pass" and party.identity:
        return ""
    return "on mx a stranger must not send as a domain of ours"


def place(snapshot: Snapshot, now: float, recipient: Address, *, known: bool | None) -> Place:
    """Where the recipient is. ``known`` is what the next hop says of it, where it is asked."""
    if _is_postmaster(snapshot, recipient):
        return Place(Destination.LOCAL)
    local = snapshot.local_domains.get(recipient.domain)
    if local is not None:
        return Place(Destination.LOCAL, _local_against(local, recipient.local, known))
    relayed = snapshot.relay_domains.get(recipient.domain)
    if relayed is None or recipient.domain.startswith("["):
        return Place(Destination.FOREIGN, "" if recipient.domain else "it is no address")
    if now >= relayed.expires:
        return Place(Destination.RELAY, "the relay domain has expired")
    return Place(Destination.RELAY, _relayed_against(relayed, recipient.local, known))


def permitted(role: Role, heard: Voices, where: Place, recipient: Address) -> tuple[set[tuple[GrantReason | None, str]], str]:
    """The pairs of reason and reference that may let this recipient in, and why not where there is none."""
    if where.against:
        return set(), where.against
    if not recipient.domain and role != Role.MX:
        return set(), "an address without a domain is none"
    if role != Role.MX:
        scope = {(v.reason, v.ref) for v in heard.all if not v.recipients or _is_named(v.recipients, recipient)}
        return set(scope), heard.against or "the recipient is outside the right"
    if where.destination == Destination.LOCAL:
        return {(None, "")}, ""
    if where.destination == Destination.RELAY:
        return {(GrantReason.RELAY_DOMAIN, recipient.domain)}, ""
    return set(), "on mx nobody may send to a domain that is not ours"


def header_against(
    snapshot: Snapshot,
    now: float,
    party: Party,
    refs: Iterable[str],
    senders: tuple[Address, ...] | None,
    count: int,
    others: Others = (),
) -> str:
    """Why a message with these From addresses must not be accepted; ``refs`` are those of its grants.

    ``others`` are its Sender, Resent-From and Resent-Sender, by name; None is one that cannot be read.
    """
    role = snapshot.listeners[party.listener].role
    if count > 1:
        return "it has more than one From field"
    if role == Role.MX:
        return ""
    if role == Role.RELAY:
        scopes = [right.senders for right in snapshot.rights if right.name in refs and right.senders]
        if not all(senders and all(_is_named(s, a) for a in senders) for s in scopes):
            return "From is outside the right"
        if scopes and (against := _others_against(senders or (), others)):
            return against
        if not all(_is_named(s, party.sender) for s in scopes):
            return "the sender is outside the right now"
        outside = [name for name, found in others for a in found or () if not all(_is_named(s, a) for s in scopes)]
        return f"{outside[0]} is outside the right" if outside else ""
    account = snapshot.accounts.get(party.account or "")
    if account is None or not senders or not all(_owns(snapshot, now, account.login, a) for a in senders):
        return "From does not belong to the account"
    if against := _others_against(senders, others):
        return against
    foreign = [name for name, found in others for a in found or () if not _owns(snapshot, now, account.login, a)]
    if foreign:
        return f"{foreign[0]} does not belong to the account"
    if not _owns(snapshot, now, account.login, party.sender):
        return "the sender does not belong to the account any more"
    app = account.app_passwords.get(party.credential or "")
    covered = app is None or not app.senders or all(_is_named(app.senders, a) for a in (*senders, *_all(others)))
    return "" if covered else "From is outside what the application password covers"


def _all(others: Others) -> list[Address]:
    return [address for _, addresses in others for address in addresses or ()]


def _others_against(senders: tuple[Address, ...], others: Others) -> str:
    """Sender names one mailbox, once, and must be there if From names several. RFC 5322 section 3.6.2."""
    sender = [addresses for name, addresses in others if name == "Sender"]
    if len(sender) > 1 or (len(senders) > 1 and not sender):
        return "it does not say who of its authors sent it"
    if any(not addresses for _, addresses in others) or any(addresses and len(addresses) > 1 for addresses in sender):
        return "its Sender cannot be read"
    return ""


def author_against(snapshot: Snapshot, now: float, client: IPAddress, domain: str, found: Author) -> str:
    """Why a stranger's message whose author's domain asks for its rejection must not be accepted as it is."""
    rules = snapshot.dmarc
    if not rules.enforce:
        return ""
    if found.result == "temperror":
        return "its author's domain could not be checked"
    if found.asked != "reject" or rules.sealers.get(found.sealer, 0.0) > now:
        return ""
    for override in rules.overrides:
        here = not override.networks or any(_plain(client) in network for network in override.networks)
        if here and domain in override.domains and override.expires > now:
            return ""
    return f"{domain} asks to reject what fails DMARC"


def standing_against(snapshot: Snapshot, recipient: Address, score: int, *, greylisted: bool) -> str:
    """Why a stranger with that score, or who is to come back later, must not get mail through to this recipient on ``mx``."""
    if _is_postmaster(snapshot, recipient):
        return ""
    if snapshot.reputation.refuse is not None and score >= snapshot.reputation.refuse:
        return f"a score of {snapshot.reputation.refuse} is to be refused"
    return "it is to come back later" if greylisted else ""


def width_faults(snapshot: Snapshot, listener: str) -> list[str]:
    """Sentences on what the rights of one listener cover together."""
    faults = []
    rights = [right for right in snapshot.rights if listener in right.listeners]
    narrow = [network for right in rights if not right.wide for network in right.networks]
    for version, most, name in ((4, MAX_V4, "a /24"), (6, MAX_V6, "a /64")):
        size = _size(narrow, version)
        if size > most:
            faults.append(f"{size} IPv{version} addresses, more than {name}, could relay through listener {listener}")
        if _size((network for right in rights for network in right.networks), version) == 2 ** (32 if version == 4 else 128):
            faults.append(f"every IPv{version} address could relay through listener {listener}")
    return faults


def _account(snapshot: Snapshot, now: float, party: Party) -> Voices:
    account = snapshot.accounts.get(party.account) if party.account is not None else None
    socket = snapshot.listeners[party.listener].local
    if socket != (party.credential == "=local"):
        return Voices((), "the word of this machine's kernel counts on its own socket, and there alone")
    if account is None or not (party.tls or socket):
        return Voices((), "only an account that has logged in over TLS may send there")
    if account.suspended:
        return Voices((), f"the account {account.login} is suspended")
    if not _owns(snapshot, now, account.login, party.sender):
        return Voices((), f"the sender does not belong to the account {account.login}")
    if against := _shown_against(snapshot, now, party):
        return Voices((), against)
    return Voices((Voice(GrantReason.ACCOUNT, account.login),))


def _owns(snapshot: Snapshot, now: float, login: str, address: Address | None) -> bool:
    """Is the address the account's own, lent to it until later than now, or an alias of its mailbox where these count?"""
    if _is_named(snapshot.accounts[login].send_as, address):
        return True
    if address is None:
        return False
    for one in snapshot.delegations:
        if one.login == login and one.expires > now and _is_named((one.address,), address) and one.address[0] != "@":
            return True
    rule = snapshot.submission.aliases
    if rule not in ("own", "shared") or address.domain not in snapshot.local_domains:
        return False
    named = snapshot.local_domains[address.domain].aliases.get(address.local.lower(), ())
    to_it = [target for target in named if _is_named((login,), target)]
    return bool(to_it) and (rule == "shared" or len(to_it) == len(named))


def _shown_against(snapshot: Snapshot, now: float, party: Party) -> str:
    """Why what the party has shown does not let it send; empty if it does."""
    if party.credential is None:
        return "" if snapshot.main_password else "its own password lets no account send"
    if party.credential in ("=certificate", "=token", "=local"):
        return ""
    app = snapshot.accounts[party.account or ""].app_passwords.get(party.credential)
    if app is None:
        return "there is no such application password"
    if app.expires is not None and not now < app.expires:
        return "the application password has expired"
    if app.senders and not _is_named(app.senders, party.sender):
        return "the sender is outside what the application password covers"
    if app.networks and not (party.identity and any(_spans(network, _plain(party.client)) for network in app.networks)):
        return "the application password is not for this address"
    return ""


def _spans(network: IPv4Network | IPv6Network, plain: IPAddress) -> bool:
    first, last = _ends(network)
    return first.version == plain.version and int(first) <= int(plain) <= int(last)


def _rights(now: float, party: Party, held: Iterable[Right]) -> Voices:
    against = "this address gives no right"
    heard = []
    for right in held if party.identity else ():
        if right.suspended:
            against = f"the right {right.name} is suspended"
        elif now >= right.expires:
            against = f"the right {right.name} has expired"
        elif right.senders and not _is_named(right.senders, party.sender):
            against = f"the sender is outside the right {right.name}"
        else:
            heard.append(Voice(GrantReason.NETWORK, right.name, right.recipients))
    return Voices(tuple(heard), "" if heard else against)


def _is_named(patterns: Collection[str], address: Address | None) -> bool:
    for pattern in patterns:
        if address is None:
            if pattern == "<>":
                return True
        elif pattern.startswith("@"):
            if pattern[1:].lower() == address.domain:
                return True
        elif pattern.lower() == address.local.lower() + "@" + address.domain:
            return True
    return False


def _is_postmaster(snapshot: Snapshot, recipient: Address) -> bool:
    if recipient.local.lower() != "postmaster" or not snapshot.local_domains:
        return False
    return recipient.domain == "" or recipient.domain in snapshot.own_addresses or recipient.domain in snapshot.local_domains


def _names(local: str) -> set[str]:
    """The names under which a local part may be listed: itself, and without its tag."""
    name = local.lower()
    return {name, name[: name.index("+")]} - {""} if "+" in name else {name}


def _is_routing(local: str) -> bool:
    return local in ("", ".", "..") or local[0] in "|-" or any(c in local for c in "%!@:/\\")


def _local_against(domain: LocalDomain, local: str, known: bool | None) -> str:
    if local in ("", ".", ".."):
        return "its local part is refused always"
    names = _names(local)
    listed = domain.recipients or frozenset()
    if _is_routing(local) and local.lower() not in listed and local.lower() not in domain.aliases:
        return "its local part looks like a route"
    if any(name in domain.aliases or name in listed for name in names):
        return ""
    taken = known is True if domain.recipients is None else bool(domain.catch_all)
    return "" if taken else "there is no such mailbox"


def _relayed_against(domain: RelayDomain, local: str, known: bool | None) -> str:
    listed = domain.recipients or frozenset()
    if local in ("", ".", "..") or (_is_routing(local) and local.lower() not in listed):
        return "its local part looks like a route"
    if any(name in listed for name in _names(local)):
        return ""
    return "" if domain.recipients is None and known is True else "there is no such mailbox"


def _plain(address: IPAddress) -> IPAddress:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _covers(right: Right, plain: IPAddress) -> bool:
    for network in right.networks:
        if network.prefixlen == 0:
            continue  # nobody holds a right by being on the Internet
        first, last = _plain(network.network_address), _plain(network.broadcast_address)
        if isinstance(plain, IPv4Address):
            if isinstance(first, IPv4Address) and isinstance(last, IPv4Address) and first <= plain <= last:
                return True
        elif isinstance(first, IPv6Address) and isinstance(last, IPv6Address) and first <= plain <= last:
            return True
    return False


def _size(networks: Iterable[IPv4Network | IPv6Network], version: int) -> int:
    """How many addresses they cover together, each counted once."""
    spans = sorted((int(a), int(b)) for a, b in map(_ends, networks) if a.version == version)
    total, covered = 0, -1
    for first, last in spans:
        total += max(0, last - max(first - 1, covered))
        covered = max(covered, last)
    return total


def _ends(network: IPv4Network | IPv6Network) -> tuple[IPAddress, IPAddress]:
    first, last = _plain(network.network_address), _plain(network.broadcast_address)
    return (first, last) if first.version == last.version else (network.network_address, network.broadcast_address)
