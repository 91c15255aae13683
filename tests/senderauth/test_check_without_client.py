"""A message whose client nobody knows: whatever the DNS would say of an address, it proves nothing."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address

from postlatch.senderauth.check import MessageCheck
from postlatch.senderauth.results import Authentication, Result
from postlatch.testing.dns import FakeResolver

ZONES = {
    "open.example": {"TXT": ["v=spf1 ip4:10.9.0.1 +all"]},
    "_dmarc.open.example": {"TXT": ["v=DMARC1; p=reject"]},
}


async def checked(*, known: bool) -> Authentication:
    check = MessageCheck(
        FakeResolver(ZONES), client=ip_address("10.9.0.1"), helo="x.example", sender="a@open.example", receiver="mx", now=1e9
    )
    if not known:
        check.skip_spf()
    await check.start()
    check.header(b"From: a@open.example\r\n\r\n", "open.example")
    check.feed(b"hello\r\n")
    return await check.finish()


def test_an_unknown_client_passes_neither_spf_nor_dmarc() -> None:
    assert asyncio.run(checked(known=True)).dmarc.result is Result.PASS, "with that address it would"
    found = asyncio.run(checked(known=False))
    assert found.spf.result is Result.NONE
    assert "not known" in found.spf.reason
    assert found.dmarc.result is Result.FAIL
