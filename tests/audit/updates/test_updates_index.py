"""Postlatch against a package index, with attestations made here."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from updates_site import LIES, Page, Site, fetcher, served

from postlatch.audit.updates import index
from postlatch.audit.updates.attestation import AttestationError, verify
from postlatch.audit.updates.values import Item, State

WHEEL, ARCHIVE = "postlatch-0.2.0-py3-none-any.whl", "postlatch-0.2.0.tar.gz"
KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def running() -> Iterator[Site]:
    with served() as site:
        yield site


@pytest.fixture
def site(running: Site) -> Site:
    running.clear()
    return running


def certificate(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey = KEY) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "signer")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    algorithm = hashes.SHA256() if isinstance(key, ec.EllipticCurvePrivateKey) else None
    signed = made.not_valid_before(now).not_valid_after(now + timedelta(minutes=10)).sign(key, algorithm)
    return signed.public_bytes(serialization.Encoding.DER)


def provenance(filename: str, digest: str, **changes: Any) -> dict[str, Any]:
    """As PEP 740 and in-toto have it. ``changes`` spoil it."""
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": filename, "digest": {"sha256": digest}}],
        "predicateType": "https://docs.index.example/attestations/publish/v1",
        "predicate": None,
        **changes.get("statement", {}),
    }
    payload = json.dumps(statement).encode()
    kind = b"application/vnd.in-toto+json"
    signed = b"DSSEv1 " + str(len(kind)).encode() + b" " + kind + b" " + str(len(payload)).encode() + b" " + payload
    signature = KEY.sign(signed, ec.ECDSA(hashes.SHA256()))
    return {
        "version": changes.get("version", 1),
        "attestation_bundles": [
            {
                "publisher": {"kind": "GitHub", "repository": "example/postlatch", "workflow": "release.yml"},
                "attestations": [
                    {
                        "version": 1,
                        "verification_material": {
                            "certificate": base64.b64encode(changes.get("certificate", certificate())).decode(),
                            "transparency_entries": [{}],
                        },
                        "envelope": {
                            "statement": base64.b64encode(changes.get("payload", payload)).decode(),
                            "signature": base64.b64encode(changes.get("signature", signature)).decode(),
                        },
                    }
                ],
            }
        ],
    }


def publish(site: Site, *, attested: bool = True, **more: Any) -> dict[str, Any]:
    """A release 0.2.0 of two files after 0.1.0; the page is given back, to be spoilt."""
    files: list[dict[str, Any]] = [
        {"filename": "postlatch-0.1.0.tar.gz", "url": "/files/old", "hashes": {"sha256": "0" * 64}, "yanked": False},
        {"filename": "postlatch-0.3.0rc1.tar.gz", "url": "/files/rc", "hashes": {"sha256": "0" * 64}, "yanked": False},
        {"filename": "postlatch-0.9.0.tar.gz", "url": "/files/bad", "hashes": {"sha256": "0" * 64}, "yanked": "broken"},
        {"filename": "something-9.9.tar.gz", "url": "/files/other", "hashes": {"sha256": "0" * 64}},
    ]
    for name in (WHEEL, ARCHIVE):
        content = f"the content of {name}".encode()
        digest = hashlib.sha256(content).hexdigest()
        site.pages[f"/files/{name}"] = Page(content)
        row: dict[str, Any] = {"filename": name, "url": f"../../files/{name}", "hashes": {"sha256": digest}, "yanked": False}
        if attested:
            row["provenance"] = f"{site.url}/integrity/{name}"
            site.json(f"/integrity/{name}", provenance(name, digest))
        files.append(row)
    page = {"meta": {"api-version": "1.3"}, "name": "postlatch", "versions": ["0.1.0", "0.2.0"], "files": files, **more}
    site.json("/simple/postlatch/", page)
    return page


def look(site: Site, installed: str = "0.1.0", seconds: float = 10.0) -> Item:
    return asyncio.run(index.look(fetcher(), f"{site.url}/simple", installed, seconds))


def test_a_newer_release_is_told_with_the_command_that_takes_just_its_files(site: Site) -> None:
    publish(site)
    item = look(site)
    assert (item.state, item.newest, item.security) == (State.OUTDATED, "0.2.0", False)
    digests = [hashlib.sha256(f"the content of {name}".encode()).hexdigest() for name in (WHEEL, ARCHIVE)]
    hashed = " ".join(f"--hash=sha256:{digest}" for digest in digests)
    assert item.fix.startswith(f"printf '%s\\n' 'postlatch==0.2.0 {hashed}' | pip install --no-deps --require-hashes ")
    assert "attestations of that digest, their signatures hold" in item.note
    assert "not verified: whose certificate it is, and the transparency log" in item.note
    assert "GitHub example/postlatch release.yml" in item.note


def test_the_newest_release_is_current_and_its_files_are_verified_all_the_same(site: Site) -> None:
    publish(site)
    item = look(site, "0.2.0")
    assert (item.state, item.fix) == (State.CURRENT, "")
    assert {path for _, path, _ in site.asked} >= {f"/files/{WHEEL}", f"/files/{ARCHIVE}", f"/integrity/{WHEEL}"}


def test_an_index_without_attestations_is_said_to_prove_no_maker(site: Site) -> None:
    publish(site, attested=False)
    item = look(site)
    assert item.state is State.OUTDATED
    assert "offers no attestations (PEP 740), so who made them was not verified" in item.note


def test_a_file_with_another_digest_is_a_warning_not_to_install_it(site: Site) -> None:
    publish(site)
    site.pages[f"/files/{WHEEL}"] = Page(b"something else")
    item = look(site)
    assert (item.state, item.security) == (State.OUTDATED, True)
    assert "has another SHA-256 than the index lists" in item.note
    assert item.fix.startswith("Do not install")
    assert look(site, "0.2.0").state is State.UNKNOWN


def test_an_attestation_that_does_not_hold_is_a_warning_not_to_install(site: Site) -> None:
    publish(site)
    site.json(f"/integrity/{WHEEL}", provenance(WHEEL, "0" * 64))
    assert "has another digest than the index" in look(site).note
    site.pages[f"/integrity/{WHEEL}"] = Page(b"", 404)
    item = look(site)
    assert "that the index announces cannot be fetched" in item.note
    assert item.fix.startswith("Do not install")


def test_a_withdrawn_release_that_is_installed_is_told(site: Site) -> None:
    publish(site)
    item = look(site, "0.9.0")
    assert (item.state, item.security) == (State.OUTDATED, True)
    assert "was withdrawn" in item.note


def test_a_file_without_a_digest_is_not_taken(site: Site) -> None:
    page = publish(site)
    page["files"][-1]["hashes"] = {}
    site.json("/simple/postlatch/", page)
    assert "lists no SHA-256" in look(site).note


def test_a_version_that_could_not_stand_in_a_command_counts_for_nothing(site: Site) -> None:
    page = publish(site)
    page["files"].append({"filename": "postlatch-99'; reboot'.tar.gz", "url": "/x", "hashes": {"sha256": "0" * 64}})
    site.json("/simple/postlatch/", page)
    assert look(site).newest == "0.2.0"


def test_an_index_cannot_send_us_into_the_private_network(site: Site) -> None:
    page = publish(site)
    other = site.url.replace("127.0.0.1", "localhost")
    page["files"][-1]["url"] = f"{other}/files/{ARCHIVE}"
    site.json("/simple/postlatch/", page)
    item = look(site)
    assert item.state is State.UNKNOWN
    assert "only https:// may be fetched" in item.note


def test_an_index_that_does_not_have_it_or_has_no_release_is_unknown(site: Site) -> None:
    assert "it has no package postlatch" in look(site).note
    publish(site, files=[])
    assert "no release that can be installed" in look(site).note
    publish(site, name="postlarch")
    assert "not that of postlatch" in look(site).note


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("where", ["/simple/postlatch/", f"/files/{WHEEL}", f"/integrity/{WHEEL}"])
def test_an_index_that_lies_is_never_good_news(site: Site, lie: str, where: str) -> None:
    publish(site)
    site.pages[where] = LIES[lie]
    item = look(site, "0.2.0")
    assert item.state in {State.UNKNOWN, State.OUTDATED}
    assert item.note


def test_an_index_that_is_late_is_unknown_in_time(site: Site) -> None:
    publish(site)
    site.pages[f"/files/{WHEEL}"] = Page(late=True)
    item = look(site, seconds=0.3)
    assert (item.state, item.note) == (State.UNKNOWN, "The index gave no usable answer: the index took more than 0.3 seconds.")


DIGEST = "ab" * 32
SPOILT: dict[str, dict[str, Any]] = {
    "its signature is wrong": {"payload": json.dumps({"subject": []}).encode()},
    "its certificate cannot be read": {"certificate": b"\x30\x03\x01\x01\xff"},
    "no ECDSA key": {"certificate": certificate(ed25519.Ed25519PrivateKey.generate())},
    "of another type": {"statement": {"predicateType": "https://example.com/anything"}},
    "of another file": {"statement": {"subject": [{"name": "other.whl", "digest": {"sha256": DIGEST}}]}},
    "another digest": {"statement": {"subject": [{"name": WHEEL, "digest": {"sha256": "cd" * 32}}]}},
    "not of version 1": {"version": 2},
}


@pytest.mark.parametrize("why", SPOILT)
def test_an_attestation_that_does_not_hold_is_refused_with_the_reason(why: str) -> None:
    with pytest.raises(AttestationError, match=why):
        verify(json.dumps(provenance(WHEEL, DIGEST, **SPOILT[why])).encode(), WHEEL, DIGEST)


def test_a_signature_of_another_key_does_not_hold() -> None:
    other = certificate(ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(AttestationError, match="its signature is wrong"):
        verify(json.dumps(provenance(WHEEL, DIGEST, certificate=other)).encode(), WHEEL, DIGEST)


def test_two_subjects_or_none_are_no_statement_of_one_file() -> None:
    for subject in ([], [{"name": WHEEL, "digest": {"sha256": DIGEST}}] * 2):
        with pytest.raises(AttestationError, match="another file"):
            verify(json.dumps(provenance(WHEEL, DIGEST, statement={"subject": subject})).encode(), WHEEL, DIGEST)


def test_an_empty_provenance_proves_nothing() -> None:
    with pytest.raises(AttestationError, match="no attestation"):
        verify(b'{"version": 1, "attestation_bundles": []}', WHEEL, DIGEST)


NAMES = [
    "version",
    "attestation_bundles",
    "attestations",
    "envelope",
    "statement",
    "signature",
    "verification_material",
    "certificate",
]
ANY = st.recursive(
    st.none() | st.just(1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=8),
    max_leaves=15,
)


@settings(max_examples=150, deadline=None)
@given(ANY, st.binary(max_size=20))
def test_any_provenance_holds_or_is_refused(value: Any, octets: bytes) -> None:
    sound = provenance(WHEEL, DIGEST)
    for content in (octets, json.dumps(value).encode(), json.dumps({**sound, "attestation_bundles": [value]}).encode()):
        with pytest.raises(AttestationError):
            verify(content, WHEEL, DIGEST)
