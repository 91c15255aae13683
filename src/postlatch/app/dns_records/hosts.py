"""MX, the addresses of the host, and the names that these addresses have. RFC 5321 section 5.1, RFC 2181 section 10.3."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, ip_address

from postlatch.app.dns_records import wanted
from postlatch.app.dns_records.published import MAX_HOSTS, Found, Published, mx_of, outgoing, parsed
from postlatch.app.dns_records.rows import BAD, Row, Status, listed, printable, sentences
from postlatch.app.dns_records.wanted import Site
from postlatch.delivery.guard import is_public
from postlatch.model.envelope import IPAddress

_A, _AAAA = "A", "AAAA"


def unknown(name: str, kind: str, found: Found) -> Row:
    """The row of a question that was not answered."""
    return Row(name, kind, Status.UNKNOWN, f"The DNS could not be asked ({printable(found.failure, 200)}): try again.")


def aliased(found: Found) -> str:
    """Where a CNAME leads."""
    return listed(text.rstrip(".") for text in found.records)


def mx_rows(site: Site, published: Published) -> Iterator[Row]:
    """Our own MX record, those of others, and a wildcard."""
    found = published.at(site.domain, "MX")
    if found.failure:
        yield unknown(site.domain, "MX", found)
    elif not site.receives:
        yield Row(
            site.domain, "MX", Status.OK, "No listener has the role mx, so this relay needs no MX record.", "", found.records
        )
    else:
        yield _own_mx(site, published, found)
        yield from _other_mx(site, published, found)
    yield from _wildcard(site, published)


def _own_mx(site: Site, published: Published, found: Found) -> Row:
    want, hosts = wanted.mx(site), mx_of(found)
    alias = published.at(site.domain, "CNAME")

    def row(status: Status, why: str, remove: tuple[str, ...] = ()) -> Row:
        return Row(site.domain, "MX", status, why, want, found.records, remove)

    if alias.records:
        why = (
            f"{site.domain} is an alias (CNAME) of {aliased(alias)}, and where a CNAME is nothing else may be, no MX "
            "record either. Replace the CNAME by A and AAAA records, then publish this MX record."
        )
        return Row(site.domain, "MX", Status.WRONG, why, want, found.records, note=(f"remove: {site.domain}. CNAME",))
    if not hosts:
        why = (
            "There is no MX record. Other servers then try the web server behind the name itself, or give up: publish it, "
            "so that mail finds this relay."
        )
        return row(Status.MISSING, why)
    null = tuple(text for text in found.records if text.rstrip(".").endswith(" "))
    if null:
        why = 'The MX record "0 ." says that this domain takes no mail at all (RFC 7505), so everybody gives up. Replace it.'
        return row(Status.WRONG, why, null)
    ours = [preference for preference, host in hosts if host == site.hostname]
    if not ours:
        why = (
            f"Mail for {site.domain} goes to {listed(host for _, host in hosts)}, and not to this relay. Publish this record. "
            "Keep the others only if they take this mail and pass it on here."
        )
        return row(Status.WRONG, why)
    first = [host for preference, host in hosts if preference < min(ours)]
    if first and not site.backup:
        why = (
            f"Mail goes to {listed(first)} first, since the smallest number is tried first. That is right only if that "
            "host filters mail and passes it on here; else give this host the smallest number."
        )
        return row(Status.OK, why)._replace(publish="")
    return row(Status.OK, "Mail finds this relay.")


def _other_mx(site: Site, published: Published, found: Found) -> Iterator[Row]:
    """Hosts that the domain names beside this one: each gets mail sooner or later."""
    for preference, host in mx_of(found)[:MAX_HOSTS]:
        if host in {"", site.hostname}:
            continue
        data = f"{preference} {host}."
        fault = _fault_of_host(host, published)
        if fault.startswith("?"):
            yield Row(site.domain, "MX", Status.UNKNOWN, fault[1:], "", (data,))
        elif fault:
            yield Row(site.domain, "MX", Status.EXTRA, f"{fault} Remove this record, or mend it.", "", (data,), (data,))
        elif any(text == site.hostname for _, text in mx_of(found)):
            name = printable(host, 200)
            why = f"{name} takes mail for this domain too. Right only if you run it, and it passes the mail on here."
            yield Row(site.domain, "MX", Status.OK, why, "", (data,))


def _fault_of_host(host: str, published: Published) -> str:
    """Why no mail server may stand in an MX record by this name; with ``?`` in front if that is not known."""
    name = printable(host, 200)
    if _is_literal(host):
        return f"The MX record names the IP address {name}. It must be the name of a host; nearly no server delivers to this."
    alias = published.at(host, "CNAME")
    if alias.records:
        return (
            f"{name} is an alias (CNAME) of {aliased(alias)}. An MX record must name the host itself (RFC 2181 section "
            "10.3); some servers refuse to deliver, and loops go unnoticed."
        )
    answers = [published.at(host, kind) for kind in (_A, _AAAA)]
    addresses = [address for answer in answers for address in parsed(answer)]
    failures = [answer.failure for answer in answers if answer.failure]
    if failures and not addresses:
        return f"?The DNS could not be asked for the address of {name} ({printable(failures[0], 200)}): try again."
    if not addresses:
        return f"{name} has no address in the DNS, so mail that is sent there waits and then bounces."
    if not any(map(is_public, addresses)):
        return f"{name} has no public address ({listed(addresses)}), so nobody outside can deliver there."
    return ""


def _is_literal(host: str) -> bool:
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _wildcard(site: Site, published: Published) -> Iterator[Row]:
    name = f"*.{site.domain}"
    found = published.at(name, "MX")
    if found.records:
        why = (
            f"This wildcard sends mail for every name under {site.domain} to {listed(host for _, host in mx_of(found))}, also "
            "for names that you never made: it invites forged senders, and each such mail is refused. Publish MX records for "
            "single names instead."
        )
        yield Row(name, "MX", Status.EXTRA, why, "", found.records, found.records)


def address_rows(site: Site, published: Published) -> Iterator[Row]:
    """A and AAAA of this host."""
    alias = published.at(site.hostname, "CNAME")
    if alias.records:
        why = (
            f"The name of this relay is an alias (CNAME) of {aliased(alias)}. MX and PTR records must lead to the host "
            "itself (RFC 2181 section 10.3): publish its addresses here instead."
        )
        yield Row(site.hostname, "CNAME", Status.WRONG, why, "", alias.records, alias.records)
    for kind, version in ((_A, 4), (_AAAA, 6)):
        found = published.at(site.hostname, kind)
        known = [one for one in site.bound if one.version == version] or [one for one in site.own if one.version == version]
        if found.failure:
            yield unknown(site.hostname, kind, found)
        elif found.records:
            yield from (_address(site, address, kind, found, known) for address in parsed(found))
        else:
            yield from _no_address(site, published, kind, known)


def _no_address(site: Site, published: Published, kind: str, known: list[IPAddress]) -> Iterator[Row]:
    name, some = site.hostname, bool(published.at(site.hostname, _AAAA).records)
    publish = str(known[0]) if known else ""
    if kind == _A and not (some and 4 not in site.versions):
        what = f"{name} has no IPv4 address: those without IPv6 cannot reach it" if some else f"{name} has no address"
        why = f"{what}, so mail does not arrive, and what this relay sends is distrusted."
        if not known:
            why += " Publish the public address of this machine; behind a gateway, the gateway's."
        yield Row(name, kind, Status.MISSING, why, publish)
    elif kind == _AAAA and known and known[0] in site.own and not site.smarthost and 6 in site.versions:
        why = (
            f"Mail leaves from {publish} where the other side has IPv6, and {name} does not lead to that address: large "
            "providers refuse this. Publish it, with its PTR record."
        )
        yield Row(name, kind, Status.MISSING, why, publish)
    elif kind == _AAAA and known and 6 in site.versions:
        why = "This relay listens on a public IPv6 address; a record would let others use it. It may stay away."
        yield Row(name, kind, Status.OPTIONAL, sentences(why, "Have its PTR record set first."), publish)


def _address(site: Site, address: IPAddress, kind: str, found: Found, known: list[IPAddress]) -> Row:
    """One published address of this host."""
    data, name = str(address), site.hostname
    publish = str(known[0]) if known and data not in map(str, known) else ""

    def row(status: Status, why: str, publish: str = "") -> Row:
        return Row(name, kind, status, why, publish, (data,), (data,) if status is Status.WRONG else ())

    if not is_public(address):
        why = f"{data} is not an address of the public internet, so nobody outside can connect to it."
        right = "" if publish else "Publish the public one; behind a gateway, the gateway's."
        return row(Status.WRONG, sentences(why, right), publish)
    if site.receives and address.version not in site.versions:
        why = (
            f"No listener of role mx takes IPv{address.version}, so whoever tries {data} first waits in vain. Listen on "
            f'"{"0.0.0.0" if address.version == 4 else "[::]"}:25" too, or remove this record.'  # noqa: S104
        )
        return row(Status.WRONG, why)
    if known and known[0] in site.bound and address not in known:
        why = f"The listeners are bound to {listed(known)}, and nothing of this relay listens on {data}."
        return row(Status.WRONG, why, "" if {str(one) for one in known} & set(found.records) else publish)
    if known and address not in known:
        why = f"Right only if {data} leads here (a gateway does that): this machine's own address is {listed(known)}."
        return row(Status.OK, why)
    return row(Status.OK, "Others find this relay.")


def ptr_rows(site: Site, published: Published) -> Iterator[Row]:
    """The way back: from each address to the name, and forward again."""
    for address in outgoing(site, published):
        if is_public(address):
            row = _ptr(site, published, address)
            if site.smarthost and row.status in BAD:
                why = f"Mail leaves by {site.smarthost}, so nobody looks for the name of {address}: it may stay as it is."
                row = row._replace(status=Status.OPTIONAL, why=why, publish="", remove=(), note=())
            yield row


def _ptr(site: Site, published: Published, address: IPAddress) -> Row:
    found = published.at(str(address), "PTR")
    name, want = address.reverse_pointer, f"{site.hostname}."
    names = [text.rstrip(".") for text in found.records]
    who = "Whoever gave you the address sets this (the provider of the server or of the line), often in its control panel."
    if found.failure:
        return unknown(name, "PTR", found)
    if not names:
        why = f"{address} has no name. Large providers refuse mail from such an address, or call it spam. {who}"
        return Row(name, "PTR", Status.MISSING, why, want)
    if site.hostname not in names:
        back = [host for host in names if address in published.addresses(host)]
        proof = "" if back else " That name does not lead back to the address either, so it is not believed at all."
        why = (
            f"{address} is called {listed(names)}, but this relay greets as {site.hostname}.{proof} Receivers compare the two "
            f"and distrust mail where they differ. {who} Or set hostname to that name."
        )
        return Row(name, "PTR", Status.WRONG, why, want, found.records, found.records)
    if address not in published.addresses(site.hostname):
        kind = _A if isinstance(address, IPv4Address) else _AAAA
        why = (
            f"Mail leaves from {address}, which is called {site.hostname}, but that name has no {kind} record with this "
            f"address: receivers check both ways. Publish {site.hostname} {kind} {address}, and listen there."
        )
        return Row(name, "PTR", Status.WRONG, why, want, found.records, note=(f"{site.hostname}. {kind} {address}",))
    more = [host for host in names if host != site.hostname]
    return Row(name, "PTR", Status.OK, _also(more), want, found.records)


def _also(more: Iterable[str]) -> str:
    names = listed(more)
    leads = "The address leads to the name, and the name back to the address."
    return sentences(leads, f"It is also called {names}; one name is enough, and safer." if names else "")
