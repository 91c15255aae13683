"""The child that talks to one LDAP server: one question a line on its standard input, one answer a line.

libldap blocks its whole process, with Python's lock held, for as long as a server keeps silent in the TLS handshake; and it
reads whatever it is sent into memory. So it has a process of its own, which the kernel ends when it takes too long or grows too
large: the relay loses an answer and not a second. What is asked with is the first line, never an argument that others can see.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from typing import Any, Final

import bonsai

from postlatch.accounts.directory_ldap_text import LdapSettings, fill, filter_value, name_value

MEMORY: Final = 512 * 1024 * 1024  # octets of address space; a quarter of it is libraries
Answer = dict[str, Any]


class Failed(Exception):
    """No answer; its text is ours."""


def answer(settings: LdapSettings, login: str, password: str) -> Answer:
    """``{"ok": …}``, or ``{"down": why}``."""
    if not password:
        return {"ok": False}  # a bind without a password succeeds, as nobody (RFC 4513 section 5.1.2)
    try:
        name, send_as = _locate(settings, login)
        # An unknown login is tried too, as a name that is nobody's: the server answers both after the same two steps.
        accepted = _is_password(settings, name or _nobody(settings, login), password)
    except Failed as error:
        return {"down": str(error)}
    except bonsai.LDAPError as error:
        return {"down": f"the LDAP server gave no answer: {type(error).__name__}"}
    except MemoryError:
        return {"down": "the LDAP server sent too much"}
    if accepted and name is None:
        return {"down": "the LDAP server accepted a name that is nobody's"}
    return {"ok": accepted, "send_as": send_as}


def _is_password(settings: LdapSettings, name: str, password: str) -> bool:
    try:
        connection = _bind(settings, name, password)
    except (bonsai.AuthenticationError, bonsai.InvalidDN, bonsai.NoSuchObjectError):
        return False
    connection.close()
    return True


def _locate(settings: LdapSettings, login: str) -> tuple[str | None, list[str]]:
    """The name of the one entry of this login, and what it may send as; None if there is none, or more than one."""
    if settings.name:
        return fill(settings.name, login, name_value), []
    try:
        connection = _bind(settings, settings.bind_name, settings.bind_password)
    except bonsai.AuthenticationError:
        raise Failed("the LDAP server refuses the login of this relay") from None
    try:
        found = connection.search(
            settings.base,
            bonsai.LDAPSearchScope.SUBTREE,
            fill(settings.filter, login, filter_value),
            [settings.send_as or "1.1"],
            timeout=settings.timeout,
            sizelimit=2,
        )
    except bonsai.SizeLimitError:
        return None, []
    finally:
        connection.close()
    if len(found) != 1:
        return None, []
    values = found[0].get(settings.send_as, ()) if settings.send_as else ()
    return str(found[0].dn), [str(value) for value in values]


def _nobody(settings: LdapSettings, login: str) -> str:
    entry = f"cn={name_value(login)}"
    return f"{entry},{settings.base}" if settings.base else entry


def _bind(settings: LdapSettings, name: str, password: str) -> Any:
    client = bonsai.LDAPClient(settings.url, tls=settings.starttls)
    if settings.authorities:
        client.set_ca_cert(settings.authorities)
    client.set_cert_policy("demand")
    # Whoever may write a referral into the directory would be asked with the passwords of its users.
    client.set_ignore_referrals(True)
    client.set_server_chase_referrals(False)
    if name:
        client.set_credentials("SIMPLE", name, password)
    return client.connect(timeout=settings.timeout)


def main() -> None:
    """Answer until the input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # it holds passwords
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # the kernel's, which asks no interpreter
    settings = LdapSettings(**json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_REAL, settings.timeout)
        question = json.loads(line)
        found = answer(settings, question["login"], question["password"])
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
