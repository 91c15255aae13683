"""What to do about a mask: why it is one, and the fix for each thing that may be in front of the relay."""

from __future__ import annotations

from typing import Final

from postlatch.monitor.masking import Finding, Place, Sign

DOCKER: Final = (
    'Docker: its userland proxy and masquerading hide clients; set "userland-proxy": false, give the network IPv6 '
    '(enable_ipv6) with "ip6tables": true if [::] is published, or run the relay with network_mode: host'
)
PODMAN: Final = (
    "rootless Podman: slirp4netns's port handler and rootlesskit hide clients; use --network=pasta, or "
    "--network=slirp4netns:port_handler=slirp4netns, or pass the sockets by socket activation"
)
KUBERNETES: Final = (
    "Kubernetes: set externalTrafficPolicy: Local on the Service, or use hostPort or hostNetwork with a network plug-in that "
    "keeps source addresses, or the PROXY protocol of the load balancer"
)
PROXY: Final = (
    "HAProxy: add send-proxy-v2 to the server line; nginx: proxy_protocol on; in the stream server; Traefik: "
    "serversTransport.proxyProtocol.version=2 (or loadBalancer.proxyProtocol); and list the proxy's address in "
    "listeners.proxies here"
)
NAT: Final = (
    "a NAT box or firewall: forward with destination NAT only, without masquerading or hairpin NAT of the client's address; or "
    "give the clients behind it a login on a submission listener"
)
LOCAL: Final = "a port forwarder on this machine (socat, ssh -L, rootlesskit): replace it, or let it speak the PROXY protocol"
UNLISTED: Final = "if this address is your proxy, list it in proxies of the listener; if not, find out what sends the headers"
ACCEPT: Final = 'if all who are behind that address may relay, say so in the right: masked = "why"'
_FIXES: Final = {
    Place.BRIDGE: (DOCKER, PODMAN, KUBERNETES),
    Place.GATEWAY: (NAT, DOCKER, PODMAN, KUBERNETES),
    Place.PROXY: (PROXY, NAT),
    Place.HERE: (LOCAL, PODMAN, PROXY),
    Place.PRIVATE: (NAT, PROXY, KUBERNETES, DOCKER),
    Place.PUBLIC: (PROXY,),
}


def fixes(finding: Finding) -> list[str]:
    """What to do, the likeliest first."""
    if finding.sign is Sign.HEADER_MISSING:
        return [PROXY]
    if finding.sign is Sign.HEADER_UNEXPECTED:
        return [UNLISTED, PROXY]
    return [*_FIXES[finding.place], ACCEPT]
