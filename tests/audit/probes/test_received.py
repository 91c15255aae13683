"""Whom a server took a message from, as servers write it down."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlatch.audit.probes.received import client


@pytest.mark.parametrize(
    ("field", "address"),
    [
        ("from auditor.example (unknown [192.0.2.7]) by mx.test (Postfix) with ESMTP id 4F2; Wed, 25 Nov 2026", "192.0.2.7"),
        ("from auditor.example (auditor.example [IPv6:2001:db8::7]) by mx.test (Postfix)", "2001:db8::7"),
        ("from [127.0.0.1] (unknown [172.17.0.1]) by mx.test (Postfix)", "172.17.0.1"),
        ("from [172.17.0.1] (helo=auditor.example) by mx.test with esmtp (Exim 4.96)", "172.17.0.1"),
        ("from [172.17.0.1] (helo=[127.0.0.1]) by mx.test with esmtp (Exim 4.96)", "172.17.0.1"),
        ("from auditor.example ([192.0.2.7]) by mx.test with esmtp (Exim 4.96)", "192.0.2.7"),
        ("from auditor.example ([192.0.2.7]:40112 helo=[10.0.0.1]) by mx.test with esmtp", "192.0.2.7"),
        ("from auditor.example (192-0-2-7.isp.example [192.0.2.7] (may be forged)) by mx.test (8.17.1)", "192.0.2.7"),
        ("from unknown (HELO auditor.example) (192.0.2.7) by mx.test with SMTP", "192.0.2.7"),
        ("from unknown (HELO [10.1.1.1]) (192.0.2.7) by mx.test with SMTP", "192.0.2.7"),
        ("from auditor.example (192.0.2.7) by EX01.mx.test (10.0.0.4) with Microsoft SMTP Server", "192.0.2.7"),
        ("from auditor.example ([192.0.2.7]) by mx.test id x for <a@[198.51.100.9]>; now", "192.0.2.7"),
        ("from auditor.example (unknown [::ffff:192.0.2.7]) by mx.test", "192.0.2.7"),
        ("from auditor.example (unknown [fe80::1%eth0]) by mx.test", "fe80::1"),
        ("by mx.test (Postfix, from userid 0) id 4F2; Wed, 25 Nov 2026", None),
        ("from auditor.example by mx.test with LMTP", None),
        ("from (((((([192.0.2", None),
        ("", None),
    ],
)
def test_the_address_is_the_one_that_the_server_saw(field: str, address: str | None) -> None:
    assert client(field) == (None if address is None else ip_address(address))


@given(st.lists(st.sampled_from(["from", "by", "(", ")", "[", "]", "192.0.2.7", "IPv6:::1", "helo=", "helo", "%", "::ffff:"])))
def test_any_field_gives_an_address_or_none(words: list[str]) -> None:
    for field in (" ".join(words), "".join(words)):
        found = client(field)
        assert found is None or found == ip_address(str(found))
