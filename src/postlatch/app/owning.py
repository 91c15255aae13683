"""Does the owner of a server want it to be audited? Nobody else's server is asked anything."""

from __future__ import annotations

from typing import Final

from postlatch.audit.probes.conversation import Dialer
from postlatch.audit.probes.ended import Ended
from postlatch.audit.probes.place import Place
from postlatch.model.dns import DnsError, Resolver

LABEL: Final = "_postlatch-audit"
_SHORTEST: Final = 8  # characters: shorter ones stand in banners by accident

HOW: Final = (
    "say that it is yours with --i-own-this, or publish a word of your own as TXT record of "
    f"{LABEL}.HOST or in the banner, and name it with --token WORD"
)


async def shows_token(token: str, host: str, places: list[Place], resolver: Resolver, dial: Dialer) -> bool:
    """Is the token in the host's DNS, or in what it says first? Only who runs a server can put it there."""
    if len(token) < _SHORTEST:
        return False
    return await _in_dns(token, host, resolver) or await _in_banner(token, places, dial)


async def _in_dns(token: str, host: str, resolver: Resolver) -> bool:
    try:
        return token.encode() in await resolver.txt(f"{LABEL}.{host}")
    except DnsError:
        return False


async def _in_banner(token: str, places: list[Place], dial: Dialer) -> bool:
    for place in places:
        try:
            async with await dial.connect(place) as talk:
                if token in (await talk.reply()).text:
                    return True
        except Ended:
            continue
    return False
