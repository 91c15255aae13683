"""Those who guess passwords, against the real program in namespaces: nobody gets in, nobody who belongs here is kept out.

The full size (10,000 passwords, 200 addresses, 50 accounts) is ``benchmarks/brute_force.py``.
"""

from __future__ import annotations

import smtplib
import time
from collections.abc import Iterator

import pytest

from brute_force import Outcome, Plan, look_up, siege
from postlatch.testing.peers.network import NetworkUnavailable
from postlatch.testing.running import ACCOUNT, BASE, PASSWORD, RunningRelay

PLAN = Plan(passwords=300, addresses=20, accounts=5, users=4, delay=0.2, pause=0.5, cheap=True)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    try:
        return siege(tmp_path_factory.mktemp("siege") / "relay", PLAN)
    except NetworkUnavailable as error:
        pytest.skip(str(error))


def test_no_guess_succeeds_and_no_user_is_kept_out(outcome: Outcome) -> None:
    assert (outcome.guesses["succeeded"], outcome.successes) == (0, 0)
    assert outcome.failures == []
    assert outcome.logins > 2 * PLAN.users


def test_every_attacking_address_is_in_the_sets_of_the_kernel_and_its_packets_are_dropped(outcome: Outcome) -> None:
    assert outcome.uncovered == []
    assert outcome.in_sets == PLAN.addresses
    assert outcome.through == []
    assert outcome.dropped > 0


def test_the_networks_in_which_users_live_are_not_banned_as_a_whole(outcome: Outcome) -> None:
    # Users are at 10.66.0.200 and nowhere in 10.66.1.0/24: there the single addresses, here whatever is less.
    assert "10.66.0.0/24" not in outcome.bans
    assert all(not ban.startswith("10.77.") for ban in outcome.bans)


def test_a_ban_is_found_among_a_hundred_thousand_in_microseconds() -> None:
    assert look_up(looks=20_000) < 50


# Bans by command, over restarts and onto running sessions


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRelay]:
    slow = BASE.replace("auth_failure_delay = 0\n", "auth_failure_delay = 0.05\nauth_failures = 100\n")
    config = slow.replace("[alerts]", '[bans]\nnever = ["203.0.113.4/32"]\n\n[alerts]')
    with RunningRelay(tmp_path_factory.mktemp("bans"), config) as found:
        found.add_account()
        yield found


@pytest.mark.parametrize(
    ("network", "why"),
    [
        ("127.0.0.0/8", "an address of this machine itself"),
        ("::1", "an address of this machine itself"),
        ("203.0.113.0/24", "an address that the configuration never bans (bans.never)"),
        ("32.0.0.0/6", "too wide to ban"),
    ],
)
def test_a_ban_of_ourselves_or_of_an_administrator_is_refused_with_the_reason(
    relay: RunningRelay, network: str, why: str
) -> None:
    done = relay.run("ban", "add", network)
    assert (done.returncode, why in done.stderr) == (2, True)


def test_a_list_is_imported_its_bad_lines_are_named_and_it_survives_a_kill(relay: RunningRelay) -> None:
    lines = ["198.51.100.7 2h", "# a comment", "127.0.0.1", "spam", "2001:db8::/64", "203.0.113.4"]
    done = relay.run("ban", "import", "-", "--why", "from elsewhere", stdin="\n".join(lines))
    assert "Imported 2 bans." in done.stdout
    assert all(f"line {number}: " in done.stdout for number in (3, 4, 6))
    relay.kill()
    relay.start()
    bans = {ban["network"]: ban for ban in relay.json("ban", "list")["bans"]}
    assert bans.keys() == {"198.51.100.7/32", "2001:db8::/64"}
    assert bans["2001:db8::/64"] == {
        "network": "2001:db8::/64",
        "until": None,
        "why": "from elsewhere",
        "since": bans["2001:db8::/64"]["since"],
        "kind": "imported",
        "strikes": 0,
    }
    assert relay.run("ban", "export").stdout.splitlines()[-1] == "2001:db8::/64"


def test_a_failed_login_is_answered_later_and_later_elsewhere_but_not_where_the_account_is_known(relay: RunningRelay) -> None:
    waits = _fail(relay, 9)
    assert min(waits[5:]) > 0.8 * 0.05 * 2
    assert waits[8] > 0.8 * 0.05 * 2**4
    with smtplib.SMTP("127.0.0.1", relay.port("submission"), timeout=30) as client:
        client.starttls()
        client.login(ACCOUNT, PASSWORD)
    assert min(_fail(relay, 3)) < 0.8 * 0.05 * 2**5


def _fail(relay: RunningRelay, times: int) -> list[float]:
    waits = []
    with smtplib.SMTP("127.0.0.1", relay.port("submission"), timeout=30) as client:
        client.starttls()
        client.ehlo()
        for number in range(times):
            began = time.monotonic()
            client.user, client.password = ACCOUNT, f"wrong {number} {began}"
            with pytest.raises(smtplib.SMTPAuthenticationError):
                client.auth("PLAIN", client.auth_plain)
            waits.append(time.monotonic() - began)
    return waits
