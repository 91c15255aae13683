"""Password guessing from many addresses against many accounts, in network namespaces: who gets in, and who is kept waiting?

10,000 passwords from 200 addresses (fifty in each of four /24s) against 50 accounts, while true users log in, some of them from
within the attackers' networks. ``postlatch firewall`` keeps the sets of the relay's namespace. Every login of a user is a full
check: nothing is remembered. At the end: logins of guessers (0), the users' waits, which attackers are in the nftables sets,
packets dropped there; and the look-up time of 100,000 bans.

    python benchmarks/brute_force.py [--passwords 10000] [--addresses 200] [--accounts 50] [--json]

As root, with ip and nft. About three minutes.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any, NamedTuple

from postlatch.app import control
from postlatch.app.firewall import Nft
from postlatch.server.bans import BanList
from postlatch.testing.peers.network import Network
from postlatch.testing.peers.ports import end
from postlatch.testing.running import BASE, RunningRelay

HOUSE = "10.64.0.1"
PORT = 587
_CONNECT, _TALK, _ANSWER = 1.0, 10.0, 0.5  # seconds after which a guesser goes on
_GUARDED = {
    'name = "submission"\naddress = ["127.0.0.1:0", "[::1]:0"]': f'name = "submission"\naddress = "{HOUSE}:{PORT}"',
    "auth_failure_delay = 0\n": "auth_failure_delay = {delay}\n",
    'auth_failures = ["1000/minute"]\n': "",  # the defaults
    '[http]\naddress = "127.0.0.1:0"\n': '[http]\naddress = "127.0.0.1:0"\n[accounts]\ncache_seconds = 0\n',
}


class Plan(NamedTuple):
    """The size of the siege. ``pause`` is the users' between two logins, in seconds."""

    passwords: int = 10_000
    addresses: int = 200
    accounts: int = 50
    users: int = 12
    delay: float = 5.0
    pause: float = 2.0
    cheap: bool = False  # hashes as cheap as may be, for a test on a busy machine


def attackers(count: int) -> list[str]:
    """Four networks of guessers."""
    return [f"10.66.{number % 4}.{number // 4 + 1}" for number in range(count)]


def homes(count: int) -> list[str]:
    """Where the true users are: every fourth among the guessers."""
    return [
        f"10.66.{number % 16 // 4}.{200 + number // 16}" if number % 4 == 0 else f"10.77.0.{number + 1}"
        for number in range(count)
    ]


# The guessers: a process of their own within the street


def guess(plan: Plan) -> dict[str, int]:
    """Each address tries its share, one after the other, as an attacker would: whatever is said, on to the next."""
    told = {"tried": 0, "refused": 0, "unreachable": 0, "succeeded": 0}
    lock = threading.Lock()

    def work(place: int, address: str) -> None:
        dice = random.Random(place)
        for number in range(place, plan.passwords, plan.addresses):
            # A few passwords at all accounts, and as many that are used once: a spray, and what leaked elsewhere.
            password = f"Winter{number // plan.accounts % 40}!" if number % 2 else f"leaked{dice.random()}"
            result = _attempt(address, f"user{number % plan.accounts}@example.com", password)
            with lock:
                told[result] += 1

    threads = [threading.Thread(target=work, args=one, daemon=True) for one in enumerate(attackers(plan.addresses))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def _attempt(address: str, login: str, password: str) -> str:
    plain = base64.b64encode(f"\0{login}\0{password}".encode()).decode()
    try:
        client = smtplib.SMTP(HOUSE, PORT, timeout=_CONNECT, source_address=(address, 0))
    except smtplib.SMTPException:
        return "refused"
    except OSError:
        return "unreachable"
    assert client.sock is not None
    client.sock.settimeout(_TALK)
    try:
        client.starttls(context=context())
        client.ehlo("guesser.example")
        client.putcmd("AUTH", f"PLAIN {plain}")
        client.sock.settimeout(_ANSWER)
        code, _ = client.getreply()
        return {235: "succeeded", 535: "tried"}.get(code, "refused")
    except smtplib.SMTPServerDisconnected as error:
        return "tried" if "timed out" in str(error) else "refused"  # the answer is late, and guessers have no time
    except (OSError, smtplib.SMTPException):
        return "refused"
    finally:
        client.close()


@cache
def context() -> ssl.SSLContext:
    """The relay's certificate is its own. One for all: to make one reads the authorities of the system, which takes longer
    than a login."""
    found = ssl.create_default_context()
    found.check_hostname, found.verify_mode = False, ssl.CERT_NONE
    return found


# The true users


class Users:
    """Log in again and again, each from its home, and note how long it took."""

    def __init__(self, plan: Plan) -> None:
        self.waits: list[float] = []
        self.failures: list[str] = []
        self._plan = plan
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(n, home)) for n, home in enumerate(homes(plan.users))]

    def first(self) -> None:
        """Everybody logs in once, before anything happens."""
        for number, home in enumerate(homes(self._plan.users)):
            self.login(number, home)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def login(self, number: int, home: str) -> None:
        """One login, from the connection to the 235."""
        began = time.monotonic()
        try:
            with smtplib.SMTP(HOUSE, PORT, timeout=30, source_address=(home, 0)) as client:
                client.starttls(context=context())
                client.login(f"user{number}@example.com", secret(number))
                self.waits.append(time.monotonic() - began)
        except (OSError, smtplib.SMTPException) as error:
            self.failures.append(f"user{number} from {home}: {error}")

    def _work(self, number: int, home: str) -> None:
        pause = random.Random(number)
        while not self._stopping.wait(self._plan.pause * (0.5 + pause.random())):
            self.login(number, home)


def secret(number: int) -> str:
    """The password of a true user; all accounts have one."""
    return f"correct horse {number} battery staple"


# The siege


class Outcome(NamedTuple):
    """What came of it. Waits in seconds."""

    guesses: dict[str, int]
    logins: int
    failures: list[str]
    p50: float
    p99: float
    worst: float
    bans: list[str]
    uncovered: list[str]
    in_sets: int
    dropped: int
    seconds: float
    alerts: int
    successes: int
    through: list[str]  # attackers whose packets still came through at the end


def siege(folder: Path, plan: Plan) -> Outcome:
    """Carry it out. NetworkUnavailable where there can be no networks."""
    with ExitStack() as stack:
        house, street = stack.enter_context(Network()), stack.enter_context(Network())
        house.join(street, [f"{HOUSE}/10"], [f"{address}/10" for address in [*attackers(plan.addresses), *homes(plan.users)]])
        with house.inside():
            relay = stack.enter_context(RunningRelay(folder, _config(plan)))
            command = [sys.executable, "-m", "postlatch", "--config", str(relay.config), "firewall", "run"]
            helper = subprocess.Popen(command, stderr=stack.enter_context((folder / "firewall.log").open("wb")))
            stack.callback(end, helper)
        for number in range(plan.accounts):
            given = {"login": f"user{number}@example.com", "password": secret(number), "send_as": []}
            answer = control.call(relay.data, "account.add", given)
            assert answer.status == 0, answer.message
        with street.inside():
            users = Users(plan)
            users.first()
            users.start()
            began = time.monotonic()
            guessers = subprocess.run(
                [sys.executable, __file__, "--guess", json.dumps(plan._asdict())], capture_output=True, text=True, check=True
            )
            seconds = time.monotonic() - began
            users.stop()
        _settle(relay, house, plan)
        with street.inside():
            through = [address for address in attackers(plan.addresses) if _knock(address)]
        return _judge(relay, house, plan, users, json.loads(guessers.stdout), seconds, through)


def _settle(relay: RunningRelay, house: Network, plan: Plan) -> None:
    """Until every attacker is banned, and in the sets of the kernel: the helper asks once a second. Or a minute."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if not _free(plan, _bans(relay)):
            with house.inside():
                if _covered(plan, _held(Nft())) == plan.addresses:
                    return
        time.sleep(0.2)


def _covered(plan: Plan, networks: list[IPv4Network | IPv6Network]) -> int:
    return sum(any(ip_address(address) in network for network in networks) for address in attackers(plan.addresses))


def _bans(relay: RunningRelay) -> list[str]:
    return [ban["network"] for ban in control.call(relay.data, "ban.list", {}).data["bans"]]


def _free(plan: Plan, bans: list[str]) -> list[str]:
    networks = [ip_network(ban) for ban in bans]
    return [address for address in attackers(plan.addresses) if not any(ip_address(address) in network for network in networks)]


def _knock(address: str) -> bool:
    try:
        socket.create_connection((HOUSE, PORT), timeout=0.3, source_address=(address, 0)).close()
    except OSError:
        return False
    return True


def _config(plan: Plan) -> str:
    text = BASE
    for old, new in _GUARDED.items():
        assert old in text, old
        text = text.replace(old, new.replace("{delay}", str(plan.delay)))
    return text + ('[accounts.argon2]\nmemory = "8 MiB"\ntime = 1\n' if plan.cheap else "")


def _judge(
    relay: RunningRelay, house: Network, plan: Plan, users: Users, guesses: dict[str, int], seconds: float, through: list[str]
) -> Outcome:
    bans = _bans(relay)
    with house.inside():
        nft = Nft()
        held = _held(nft)
        counters = nft.listing("counters", "table", "inet", "postlatch")["nftables"]
    dropped = sum(entry["counter"]["packets"] for entry in counters if "counter" in entry)
    in_sets = _covered(plan, held)
    found = control.call(relay.data, "journal.search", {"event": "auth.succeeded", "client": "10.66.0.0/16", "limit": 100_000})
    theirs = [event for event in found.data["events"] if event["client"] in set(attackers(plan.addresses))]
    alerts = control.call(relay.data, "journal.search", {"event": "alert.raised", "limit": 1000}).data["events"]
    waits = sorted(users.waits)
    return Outcome(
        guesses,
        len(waits),
        users.failures,
        waits[len(waits) // 2],
        waits[int(len(waits) * 0.99)],
        waits[-1],
        bans,
        _free(plan, bans),
        in_sets,
        dropped,
        seconds,
        len([event for event in alerts if "passwords" in str(event.get("alert"))]),
        len(theirs),
        through,
    )


def _held(nft: Nft) -> list[IPv4Network | IPv6Network]:
    found = []
    for name in ("clients4", "banned4"):
        for entry in nft.listing("set", "inet", "postlatch", name)["nftables"]:
            found += [ip_network(_text(element)) for element in entry.get("set", {}).get("elem", ())]
    return found


def _text(element: Any) -> str:
    value = element["elem"]["val"] if isinstance(element, dict) and "elem" in element else element
    return f"{value['prefix']['addr']}/{value['prefix']['len']}" if isinstance(value, dict) else str(value)


def look_up(bans: int = 100_000, looks: int = 200_000) -> float:
    """Microseconds of processor time for one look-up among so many bans of several lengths."""
    dice = random.Random(1)
    listed = BanList([(IPv4Network((dice.getrandbits(32), 32)), 1e12) for _ in range(bans * 8 // 10)])
    for _ in range(bans // 10):
        listed.add(IPv6Network((dice.getrandbits(64) << 64, 64)), 1e12)
        listed.add(IPv4Network((dice.getrandbits(24) << 8, 24)), 1e12)
    addresses = [IPv4Address(dice.getrandbits(32)) for _ in range(looks)]
    began = time.process_time()
    for address in addresses:
        listed.until(address, 1.0)
    return (time.process_time() - began) / looks * 1e6


def main() -> int:
    """1 if somebody got in, a user was kept out or waited for a second, or an attacker went free."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passwords", type=int, default=10_000)
    parser.add_argument("--addresses", type=int, default=200)
    parser.add_argument("--accounts", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--guess", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.guess:
        print(json.dumps(guess(Plan(**json.loads(options.guess)))))
        return 0
    plan = Plan(options.passwords, options.addresses, options.accounts, min(12, options.accounts))
    with tempfile.TemporaryDirectory(prefix="postlatch-bench-") as name:
        outcome = siege(Path(name) / "relay", plan)
    micros = look_up()
    if options.json:
        print(json.dumps({**outcome._asdict(), "look_up_us": micros}))
    else:
        _print(outcome, plan, micros)
    good = outcome.p99 < 1 and not outcome.guesses["succeeded"] + outcome.successes and not outcome.failures
    return 0 if good and outcome.in_sets == plan.addresses and outcome.dropped and not outcome.through else 1


def _print(outcome: Outcome, plan: Plan, micros: float) -> None:
    guesses = outcome.guesses
    print(f"guesses: {plan.passwords:,} from {plan.addresses} addresses at {plan.accounts} accounts in {outcome.seconds:.0f} s")
    print(f"  came to an answer 535 or waited for it: {guesses['tried']:,}; refused 421 or cut off: {guesses['refused']:,};")
    print(
        f"  did not get through: {guesses['unreachable']:,}; succeeded: {guesses['succeeded']} (journal: {outcome.successes})"
    )
    print(f"true users: {outcome.logins} logins, {len(outcome.failures)} failed {outcome.failures[:3]}")
    print(f"  p50 {outcome.p50 * 1000:.0f} ms, p99 {outcome.p99 * 1000:.0f} ms, worst {outcome.worst * 1000:.0f} ms")
    print(f"bans: {len(outcome.bans)}; attackers not covered: {len(outcome.uncovered)}; alerts: {outcome.alerts}")
    print(f"nftables: {outcome.in_sets} of {plan.addresses} attackers in the sets, {outcome.dropped:,} packets dropped,")
    print(f"  {len(outcome.through)} of them still came through at the end")
    print(f"look-up among 100,000 bans: {micros:.2f} us")


if __name__ == "__main__":
    sys.exit(main())
