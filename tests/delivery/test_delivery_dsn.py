from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage
from typing import cast

import pytest
from delivery_fakes import HEADER, NOW, address, message
from hypothesis import example, given
from hypothesis import strategies as st

from postlatch.delivery import dsn_fields
from postlatch.delivery.dsn import MAX_HEADER, Report, Reported, compose
from postlatch.delivery.dsn_text import SUBJECTS, Action, reason
from postlatch.model.envelope import RecipientParams, SenderParams

REPLY = "550 5.1.1 <bob@elsewhere.example>: no such user"


def reported(
    to: str = "bob@elsewhere.example",
    *,
    original: str | None = None,
    orcpt: str = "",
    enhanced: str = "5.1.1",
    reply: str = REPLY,
    remote: str = "mx.elsewhere.example[8.8.1.1]:25",
    expired: bool = False,
) -> Reported:
    named = address(original) if original is not None else None
    return Reported(address(to), named, RecipientParams(orcpt=orcpt), enhanced, reply, remote, expired)


def report(
    *recipients: Reported,
    action: Action = Action.FAILED,
    sender: str = "alice@example.com",
    header: bytes = HEADER,
    envid: str = "",
    header_message_id: str = "<one@example.com>",
) -> Report:
    return Report(
        hostname="mx.example.com",
        sender=address(sender),
        message=message(params=SenderParams(envid=envid), header_message_id=header_message_id),
        action=action,
        recipients=recipients or (reported(),),
        header=header,
        now=NOW + 90,
        retry_until=NOW + 5 * 86_400,
    )


def parsed(content: bytes) -> EmailMessage:
    """What the standard library makes of it, after the checks that hold for every report."""
    assert content.replace(b"\r\n", b"").find(b"\r") == content.replace(b"\r\n", b"").find(b"\n") == -1
    assert max(len(line) for line in content.split(b"\r\n")) <= 998
    mail = email.message_from_bytes(content, policy=email.policy.SMTP)
    for part in (mail, *parts(mail), *parts(parts(mail)[1])):  # what a broken original's headers hold is its own affair
        assert part.defects == []
    assert mail.get_content_type() == "multipart/report"
    assert mail.get_param("report-type") == "delivery-status"
    assert len(parts(mail)) == 3
    return mail


def parts(mail: EmailMessage) -> list[EmailMessage]:
    return cast("list[EmailMessage]", mail.get_payload())


def blocks(mail: EmailMessage) -> list[EmailMessage]:
    """The per-message block and those of the recipients."""
    return cast("list[EmailMessage]", parts(mail)[1].get_payload())


def status_fields(one: Report) -> dict[str, str]:
    [_, block] = blocks(parsed(compose(one)))
    return {name: str(value) for name, value in block.items()}


def test_a_report_of_a_failure_word_for_word() -> None:
    content = compose(report()).decode()
    boundary = content.partition('boundary="')[2].partition('"')[0]
    assert content.replace(boundary, "BOUNDARY").replace("\r\n", "\n") == (
        "Date: Thu, 01 Jan 2026 00:01:30 +0000\n"
        "From: Mail Delivery System <MAILER-DAEMON@mx.example.com>\n"
        "To: <alice@example.com>\n"
        "Subject: Your message could not be delivered\n"
        "Message-ID: <000000000002D.1767225690000.failed@mx.example.com>\n"
        "Auto-Submitted: auto-replied\n"
        "MIME-Version: 1.0\n"
        "Content-Type: multipart/report; report-type=delivery-status;\n"
        ' boundary="BOUNDARY"\n'
        "In-Reply-To: <one@example.com>\n"
        "References: <one@example.com>\n"
        "\n"
        "This is a delivery report in MIME format.\n"
        "\n"
        "--BOUNDARY\n"
        "Content-Type: text/plain; charset=us-ascii\n"
        "Content-Transfer-Encoding: 7bit\n"
        "\n"
        "This is an automatic message of the mail system at mx.example.com.\n"
        "\n"
        "Your message could not be delivered to:\n"
        "\n"
        "    bob@elsewhere.example\n"
        "        There is no such mailbox. Check the part before the @ for typing\n"
        "        errors. (5.1.1)\n"
        "\n"
        "We have stopped trying. If the message still matters, put right what is\n"
        "named above and send it again.\n"
        "\n"
        "The technical details and the headers of your message are attached.\n"
        "\n"
        "--BOUNDARY\n"
        "Content-Type: message/delivery-status\n"
        "Content-Transfer-Encoding: 7bit\n"
        "\n"
        "Reporting-MTA: dns; mx.example.com\n"
        "X-Postlatch-Queue-Id: 000000000002D\n"
        "Arrival-Date: Thu, 01 Jan 2026 00:00:00 +0000\n"
        "\n"
        "Final-Recipient: rfc822; bob@elsewhere.example\n"
        "Action: failed\n"
        "Status: 5.1.1\n"
        "Remote-MTA: dns; mx.elsewhere.example\n"
        "Diagnostic-Code: smtp; 550 5.1.1 <bob@elsewhere.example>: no such user\n"
        "Last-Attempt-Date: Thu, 01 Jan 2026 00:01:30 +0000\n"
        "\n"
        "--BOUNDARY\n"
        "Content-Type: text/rfc822-headers\n"
        "Content-Transfer-Encoding: 7bit\n"
        "\n"
        "Received: by mx.example.com; now\n"
        "From: alice@example.com\n"
        "Subject: hello\n"
        "\n"
        "--BOUNDARY--\n"
    )


def test_a_delay_says_until_when_it_is_tried() -> None:
    fields = status_fields(report(reported(enhanced="4.4.1"), action=Action.DELAYED))
    assert (fields["Action"], fields["Status"]) == ("delayed", "4.4.1")
    assert fields["Will-Retry-Until"] == "Tue, 06 Jan 2026 00:00:00 +0000"


def test_a_failure_after_days_of_trying_keeps_the_temporary_code_and_says_so() -> None:
    content = compose(report(reported(enhanced="4.4.1", reply="421 4.4.1 refused", expired=True)))
    assert b"Status: 4.4.1\r\n" in content
    assert b"We tried for\r\n        5 days." in content or b"We tried for 5 days." in content


@pytest.mark.parametrize("action", list(Action))
def test_every_action_has_its_own_text(action: Action) -> None:
    mail = parsed(compose(report(action=action)))
    assert mail["Subject"] == SUBJECTS[action]
    assert blocks(mail)[1]["Action"] == action


def test_every_recipient_has_its_block() -> None:
    mail = parsed(compose(report(*(reported(f"user{number}@elsewhere.example") for number in range(50)))))
    assert [block["Final-Recipient"] for block in blocks(mail)[1:]] == [
        f"rfc822; user{number}@elsewhere.example" for number in range(50)
    ]


def test_the_alias_that_was_named_is_the_original_recipient() -> None:
    assert status_fields(report(reported(original="info@example.com")))["Original-Recipient"] == "rfc822; info@example.com"
    text = parts(parsed(compose(report(reported(original="info@example.com")))))[0].get_content()
    assert "info@example.com" in text
    assert "bob@" not in text  # people read the address that they wrote


@pytest.mark.parametrize(
    ("orcpt", "shown"),
    [
        ("rfc822;carl@else.example", "rfc822; carl@else.example"),
        ("RFC822;a+2Bb@else.example", "RFC822; a+b@else.example"),
        ("x400;/C+3Dde/", "x400; /C=de/"),
        ("utf-8;k\\x{E4}se@else.example", "utf-8; k\\x{E4}se@else.example"),
        ("utf-8;käse@else.example", "utf-8; k\\x{E4}se@else.example"),
        ("rfc822;a+0D+0AX-Evil:+20yes", None),
        ("rfc822;+00", None),
        ("rfc822;+C3+A4", None),
        ("rfc822;a b", None),
        ("rfc822;", None),
        ("carl@else.example", None),
        ("bad type;carl@else.example", None),
        ("rfc822;" + "a" * 600, None),
    ],
)
def test_an_original_recipient_is_shown_only_if_it_is_valid(orcpt: str, shown: str | None) -> None:
    assert status_fields(report(reported(orcpt=orcpt))).get("Original-Recipient") == shown


@pytest.mark.parametrize(
    ("envid", "shown"),
    [("QQ314159", "QQ314159"), ("a+2Bb", "a+b"), ("a+0D+0Ab", None), ("+20", None), ("bad=", None), ("", None)],
)
def test_an_envelope_id_is_shown_only_if_it_is_printable(envid: str, shown: str | None) -> None:
    assert blocks(parsed(compose(report(envid=envid))))[0]["Original-Envelope-Id"] == shown


@pytest.mark.parametrize(
    ("remote", "shown"),
    [
        ("mx.elsewhere.example[8.8.1.1]:25", "dns; mx.elsewhere.example"),
        ("mx.elsewhere.example", "dns; mx.elsewhere.example"),
        ("", None),
        ("maildir", None),
        ("/run/dovecot/lmtp", None),
        ("evil\r\nX: y.example", None),
    ],
)
def test_a_remote_host_is_named_if_it_has_a_name(remote: str, shown: str | None) -> None:
    assert status_fields(report(reported(remote=remote))).get("Remote-MTA") == shown


def test_our_own_findings_do_not_pose_as_a_remote_reply() -> None:
    ours = status_fields(report(reported(remote="", reply="556 5.1.10 recipient address has null MX")))
    assert ours["Diagnostic-Code"] == "x-postlatch; 556 5.1.10 recipient address has null MX"


def test_a_hostile_reply_stays_on_its_line_and_within_bounds() -> None:
    evil = "550 no\r\nTo: victim@victim.example\r\n\r\n\x1b[31m\0käse" + "x" * 5000
    fields = status_fields(report(reported(reply=evil)))
    code = fields["Diagnostic-Code"]
    assert code.startswith("smtp; 550 no\\x0d\\x0aTo: victim@victim.example\\x0d\\x0a\\x0d\\x0a\\x1b[31m\\x00k\\xe4se")
    assert len(code) <= 500
    assert code.isascii()


def test_a_remote_servers_words_are_not_in_the_part_that_people_read() -> None:
    text = parts(parsed(compose(report(reported(reply="550 5.7.1 visit http://evil.example to unlock")))))[0].get_content()
    assert "evil" not in text


def test_the_body_of_the_original_never_comes_back() -> None:
    assert b"The body" not in compose(report(header=HEADER))


def test_eight_bit_headers_are_declared_and_come_back_whole() -> None:
    header = "From: a@example.com\r\nSubject: käse = gut \r\n".encode()
    content = compose(report(header=header))
    assert content.isascii()
    part = parts(parsed(content))[2]
    assert (part.get_content_type(), part["Content-Transfer-Encoding"]) == ("text/rfc822-headers", "quoted-printable")
    decoded = part.get_payload(decode=True)
    assert isinstance(decoded, bytes)
    assert decoded.rstrip(b"\r\n") == header.rstrip(b"\r\n")


def test_headers_are_cut_at_64_kib_and_between_lines() -> None:
    header = b"".join(b"X-Line-%06d: %s\r\n" % (number, b"y" * 60) for number in range(5000))
    part = parts(parsed(compose(report(header=header))))[2]
    kept = part.get_payload(decode=True)
    assert isinstance(kept, bytes)
    assert MAX_HEADER - 100 < len(kept) <= MAX_HEADER + 2
    assert header.startswith(kept.rstrip(b"\r\n"))
    assert parsed(compose(report(header=b"X: " + b"y" * 100_000)))


def test_a_header_block_that_imitates_the_report_stays_inside_its_part() -> None:
    content = compose(report())
    inner = compose(report(header=content + b"\r\n"))
    assert len(parts(parsed(inner))) == 3


@pytest.mark.parametrize("bad", ["", "no brackets", "<a b@c>", "<a\r\nb@c>", "<" + "a" * 400 + ">", "<ä@c>", "<a><b>"])
def test_a_message_id_that_is_none_is_not_referred_to(bad: str) -> None:
    mail = parsed(compose(report(header_message_id=bad)))
    assert mail["References"] is None


def test_a_foreign_address_is_written_in_ascii_for_a_reader_of_ascii() -> None:
    one = report(reported("käse@bücher.example"))
    assert not one.smtputf8
    content = compose(one)
    assert content.isascii()
    assert b"Final-Recipient: utf-8; k\\x{E4}se@b\\x{FC}cher.example\r\n" in content
    assert "käse@bücher.example" in parts(parsed(content))[0].get_content()


def test_a_reader_with_a_foreign_address_gets_the_international_form() -> None:
    one = report(reported("käse@bücher.example"), sender="jürgen@example.com", header="Subject: Grüße\r\n".encode())
    assert one.smtputf8
    content = compose(one)
    kinds = [part.get_content_type() for part in parts(parsed(content))]
    assert kinds == ["text/plain", "message/global-delivery-status", "message/global-headers"]
    assert "Final-Recipient: utf-8; käse@bücher.example\r\n".encode() in content
    assert "To: <jürgen@example.com>\r\n".encode() in content


ADDRESSES = st.sampled_from(
    ["bob@elsewhere.example", '"a > b, c"@elsewhere.example', "käse@bücher.example", '"\\" \\\\"@x.example', "x@[192.0.2.1]"]
)
TEXT = st.text(max_size=700)


@example(
    reply="550 \r\n--x",
    remote="a\r\n.b",
    enhanced="5.1.1\r\n",
    orcpt="rfc822;x\r\n",
    envid="\r\n",
    mid="<\r\n>",
    header=b"\r\n\r\n--=_x--\r\n",
    to="bob@elsewhere.example",
    original=None,
    sender="alice@example.com",
    action=Action.FAILED,
)
@given(
    reply=TEXT,
    remote=TEXT,
    enhanced=st.one_of(TEXT, st.from_regex(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}", fullmatch=True)),
    orcpt=st.one_of(TEXT, TEXT.map("rfc822;".__add__), TEXT.map("utf-8;".__add__)),
    envid=TEXT,
    mid=TEXT,
    header=st.binary(max_size=3000),
    to=ADDRESSES,
    original=st.one_of(st.none(), ADDRESSES),
    sender=st.sampled_from(["alice@example.com", '"a > b"@example.com', "jürgen@example.com"]),
    action=st.sampled_from(Action),
)
def test_whatever_others_put_in_a_report_is_well_formed(
    reply: str, remote: str, enhanced: str, orcpt: str, envid: str, mid: str, header: bytes, to: str,
    original: str | None, sender: str, action: Action,
) -> None:  # fmt: skip
    one = report(
        reported(to, original=original, orcpt=orcpt, enhanced=enhanced, reply=reply, remote=remote),
        action=action, sender=sender, header=header, envid=envid, header_message_id=mid,
    )  # fmt: skip
    content = compose(one)
    mail = parsed(content)
    assert content.isascii() or one.smtputf8
    assert set(mail.keys()) <= {
        "Date", "From", "To", "Subject", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type", "In-Reply-To",
        "References",
    }  # fmt: skip
    if not one.smtputf8:
        [_, block] = blocks(mail)
        assert set(block.keys()) <= {
            "Original-Recipient", "Final-Recipient", "Action", "Status", "Remote-MTA", "Diagnostic-Code",
            "Last-Attempt-Date", "Will-Retry-Until",
        }  # fmt: skip
        assert block["Action"] == action


@pytest.mark.parametrize(
    ("enhanced", "action_class", "status"),
    [
        ("5.1.1", "5", "5.1.1"),
        ("4.4.1", "5", "4.4.1"),
        ("2.0.0", "5", "5.0.0"),
        ("5.1.1", "4", "4.0.0"),
        ("", "2", "2.0.0"),
        ("5.1.1\r\n", "5", "5.0.0"),
        ("5.1234.1", "5", "5.0.0"),
    ],
)
def test_a_status_fits_its_action(enhanced: str, action_class: str, status: str) -> None:
    assert dsn_fields.status(enhanced, action_class) == status


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("5.1.1", "no such mailbox"),
        ("4.2.2", "full"),
        ("5.1.99", "wrong with this address"),
        ("5.7.509", "security or policy"),
        ("5.9.9", "refused the message"),
        ("5.0.0", "refused the message"),
    ],
)
def test_a_code_is_put_into_words(status: str, words: str) -> None:
    assert words in reason(status)
