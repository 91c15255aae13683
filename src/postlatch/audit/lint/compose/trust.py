"""Whom a container relays for without a login, as its environment says it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from postlatch.audit.lint.compose.workload import Setting, Workload
from postlatch.audit.lint.survey import Network, networks_of

_NETWORKS: Final = frozenset(
    [
        "SUBNET",
        "SUBNET6",
        "RELAYNETS",
        "RELAY_NETWORKS",
        "RELAY_NETS",
        "MYNETWORKS",
        "POSTFIX_MYNETWORKS",
        "SMTP_NETWORKS",
        "MAIL_RELAY_NETWORKS",
        "ALLOWED_NETWORKS",
        "POSTCONF_MYNETWORKS",
        "POSTFIX_MY_NETWORKS",
        "NETWORKS_ALLOWED",
        "RELAY_FROM_HOSTS",
        "ACCEPTED_NETWORKS",
    ]
)
_MOST: Final = 500
# Images that relay for private networks if nobody tells them otherwise.
_OPEN_IMAGES: Final = re.compile(
    r"(?:^|/)(?:bytemark/smtp|namshi/smtp|boky/postfix|mwader/postfix-relay|ixdotai/smtp|devture/exim-relay|juanluisbaptiste/postfix)(?:[:@]|$)"
)
_MAILSERVER: Final = re.compile(
    r"(?:^|/)(?:docker-mailserver/docker-mailserver|mailserver/docker-mailserver|tvial/docker-mailserver)(?:[:@]|$)"
)
_PERMITS: Final = frozenset(("network", "connected-networks", "host", "container"))
_PRIVATE: Final = tuple(
    n for n in map(networks_of, ("172.16.0.0/12", "192.168.0.0/16", "10.0.0.0/8", "fc00::/7")) if n is not None
)


class Trust(NamedTuple):
    """Networks that may relay, by the setting ``name``."""

    name: str
    networks: tuple[Network, ...]
    setting: Setting

    @property
    def has_gateways(self) -> bool:
        """Whether a container's gateway may be among them."""
        return any(n.version == p.version and n.overlaps(p) for n in self.networks for p in _PRIVATE)


def trusts(workload: Workload) -> Iterator[Trust]:
    """What is said, and what the image does if nothing is said."""
    said = False
    for name, setting in workload.settings.items():
        if name == "PERMIT_DOCKER":
            said = True
            if setting.value.lower() in _PERMITS:
                yield Trust(f"PERMIT_DOCKER={setting.value.lower()}", _PRIVATE[:1], setting)
        elif name in _NETWORKS:
            said = True
            parts = re.split(r"[\s,;]+", setting.value.strip())[:_MOST]
            networks = [network for part in parts for network in _networks(part)]
            yield Trust(name, tuple(networks), setting)
    if not said and _OPEN_IMAGES.search(workload.image):
        yield Trust("the image's own default", _PRIVATE, Setting("", workload.file, workload.line))


def is_described(workload: Workload) -> bool:
    """Whether the file says, or the image is known to say, whom it relays for."""
    return (
        bool(_MAILSERVER.search(workload.image) or _OPEN_IMAGES.search(workload.image))
        or "PERMIT_DOCKER" in workload.settings
        or any(name in workload.settings for name in _NETWORKS)
    )


def _networks(part: str) -> Iterator[Network]:
    """A part may be a list with colons, as images made from Exim have it."""
    network = networks_of(part)
    if network is not None:
        yield network
        return
    for piece in part.strip(":").split(":")[:_MOST]:
        if (network := networks_of(piece)) is not None:
            yield network
