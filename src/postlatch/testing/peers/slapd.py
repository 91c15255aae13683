"""An OpenLDAP server of our own, with people in it: over a Unix socket, over TLS from the first octet, and with StartTLS.

Needs Debian's package slapd. The people are ``uid=NAME,ou=people,dc=example,dc=com`` with the ``mail`` values
that are given; ``ou=away,dc=example,dc=com`` is a referral to wherever the test says.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import quote

from postlatch.testing.peers.authority import make_authority
from postlatch.testing.peers.ports import end, free_port, listens, wait_until

BASE = "dc=example,dc=com"
ADMIN = f"cn=admin,{BASE}"
ADMIN_PASSWORD = "root of the tree"  # noqa: S105  (of a test)

_CONFIG = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
pidfile {folder}/slapd.pid
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCertificateFile {folder}/cert.pem
TLSCertificateKeyFile {folder}/key.pem
loglevel none
database mdb
suffix "{base}"
rootdn "{admin}"
rootpw "{password}"
directory {folder}/db
maxsize 10485760
access to attrs=userPassword by anonymous auth by * none
access to * by * read
"""

_TREE = f"""\
dn: {BASE}
objectClass: domain
dc: example

dn: ou=people,{BASE}
objectClass: organizationalUnit
ou: people

"""


class Person(NamedTuple):
    """An entry. The first of ``mail`` is the login."""

    uid: str
    password: str
    mail: tuple[str, ...]
    description: str = ""

    def ldif(self) -> str:
        """As slapadd reads it."""
        lines = [f"dn: uid={self.uid},ou=people,{BASE}", "objectClass: inetOrgPerson", f"uid: {self.uid}", f"cn: {self.uid}"]
        lines += [f"sn: {self.uid}", f"userPassword: {self.password}", *(f"mail: {address}" for address in self.mail)]
        lines += [f"description: {self.description}"] if self.description else []
        return "\n".join(lines) + "\n\n"


class Slapd:
    """``with Slapd(folder, people) as peer``: ``peer.ldapi``, ``peer.ldaps``, ``peer.ldap``, ``peer.authorities``."""

    def __init__(self, folder: Path, people: Iterable[Person], referral: str = "ldap://127.0.0.1:1/") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._ports = free_port(), free_port()
        self.socket = folder / "ldapi"
        self.ldapi = "ldapi://" + quote(str(self.socket), safe="")
        self.ldap, self.ldaps = f"ldap://127.0.0.1:{self._ports[0]}", f"ldaps://127.0.0.1:{self._ports[1]}"
        self.authorities = folder / "ca.pem"
        make_authority(folder, "127.0.0.1")
        (folder / "db").mkdir()
        self._config = folder / "slapd.conf"
        self._config.write_text(_CONFIG.format(folder=folder, base=BASE, admin=ADMIN, password=ADMIN_PASSWORD))
        classes = "objectClass: referral\nobjectClass: extensibleObject"
        away = f"dn: ou=away,{BASE}\n{classes}\nou: away\nref: {referral}ou=away,{BASE}\n\n"
        tree = _TREE + away + "".join(person.ldif() for person in people)
        command = ["/usr/sbin/slapadd", "-q", "-f", str(self._config)]
        done = subprocess.run(command, input=tree, text=True, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"slapadd: {done.stderr}")

    def __enter__(self) -> Self:
        self.start()
        return self

    def start(self) -> None:
        """Start it, and wait until it listens."""
        urls = f"{self.ldapi} {self.ldap} {self.ldaps}"
        self._process = subprocess.Popen(
            ["/usr/sbin/slapd", "-d", "0", "-f", self._config, "-h", urls], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        wait_until(lambda: listens(self._ports[1]) and self.socket.exists(), 20, "slapd to listen")

    def stop(self) -> None:
        """Stop it."""
        end(self._process)
        self.socket.unlink(missing_ok=True)

    def __exit__(self, *_: object) -> None:
        self.stop()
