"""Services and workloads of Kubernetes files, and the values of charts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from postlatch.audit.lint.compose.document import Item
from postlatch.audit.lint.compose.workload import MAIL_PORTS, Port, Setting, Workload
from postlatch.audit.lint.reading import shown

_PUBLIC: Final = frozenset(("LoadBalancer", "NodePort"))
_PROXY_ANNOTATIONS: Final = ("proxy-protocol", "proxyprotocol", "proxy_protocol")
_LOCAL_FIX: Final = "externalTrafficPolicy: Local, or the PROXY protocol from the load balancer, or hostNetwork: true"


def workloads(documents: list[Item]) -> Iterator[Workload]:
    """Pods and what makes pods, with the ports that the services of the same files publish."""
    flat = list(_flat(documents))
    published = [port for document in flat if document.get("kind").text == "Service" for port in _service_ports(document)]
    shared = _config_maps(flat)
    made = False
    for document in flat:
        spec = _pod_spec(document)
        if not spec:
            continue
        made = True
        ports = [*published, *_host_ports(spec)]
        for container in spec.get("containers").items():
            settings = shared | _environment(container)
            name = shown(document.get("metadata", "name").text or container.get("name").text, 80)
            yield Workload(name, container.get("image").text, settings, tuple(ports), container.file, container.line)
    if published and not made:
        yield Workload("service", "", shared, tuple(published), published[0].file, published[0].line)
    for document in flat:
        yield from _chart_values(document)


def is_kubernetes(document: Item) -> bool:
    """Whether it says its kind."""
    return bool(document.get("kind").text) and bool(document.get("apiVersion").text)


def _flat(documents: list[Item]) -> Iterator[Item]:
    for document in documents:
        if document.get("kind").text == "List":
            yield from document.get("items").items()
        else:
            yield document


def _pod_spec(document: Item) -> Item:
    if document.get("kind").text == "Pod":
        return document.get("spec")
    template = document.get("spec", "template", "spec")
    return template or document.get("spec", "jobTemplate", "spec", "template", "spec")


def _service_ports(document: Item) -> Iterator[Port]:
    spec = document.get("spec")
    public = spec.get("type").text in _PUBLIC or bool(spec.get("externalIPs"))
    annotations = " ".join(name.lower() for name, _ in document.get("metadata", "annotations").pairs())
    keeps = spec.get("externalTrafficPolicy").text == "Local" or any(word in annotations for word in _PROXY_ANNOTATIONS)
    for item in spec.get("ports").items():
        numbers = {_number(item.get("port")), _number(item.get("targetPort"))} & MAIL_PORTS
        if numbers:
            why = (
                ""
                if keeps or not public
                else "externalTrafficPolicy is not Local: nodes pass clients on with their own address"
            )
            yield Port(min(numbers), public, why, _LOCAL_FIX, item.file, item.line)


def _host_ports(spec: Item) -> Iterator[Port]:
    on_host = spec.get("hostNetwork").text.lower() == "true"
    for container in spec.get("containers").items():
        for item in container.get("ports").items():
            number, host = _number(item.get("containerPort")), _number(item.get("hostPort"))
            if number in MAIL_PORTS and (on_host or host):
                why = "" if on_host else "hostPort may be passed on with the node's address, as the network plugin does it"
                yield Port(
                    number, True, why, "hostNetwork: true, or a service with externalTrafficPolicy: Local", item.file, item.line
                )


def _number(item: Item) -> int:
    return int(item.text) if item.text.isascii() and item.text.isdecimal() and len(item.text) < 6 else 0


def _environment(container: Item) -> dict[str, Setting]:
    return {
        item.get("name").text.upper(): Setting(item.get("value").text, item.file, item.line)
        for item in container.get("env").items()
    }


def _config_maps(documents: list[Item]) -> dict[str, Setting]:
    return {
        key.upper(): Setting(value.text, value.file, value.line)
        for document in documents
        if document.get("kind").text == "ConfigMap"
        for key, value in document.get("data").pairs()
    }


def _chart_values(document: Item) -> Iterator[Workload]:
    """Mailu's chart: ``subnet`` is trusted, ``realIpFrom`` may say who a client is."""
    if document.get("kind") or document.get("services") or not (document.get("subnet") or document.get("ingress")):
        return
    settings: dict[str, Setting] = {}
    for name, item in (
        ("SUBNET", document.get("subnet")),
        ("REAL_IP_FROM", document.get("ingress", "realIpFrom") or document.get("realIpFrom")),
    ):
        if item.text:
            settings[name] = Setting(item.text, item.file, item.line)
    pod = document.get("front", "hostPort", "enabled").text.lower() == "true"
    service = document.get("front", "externalService")
    ports: list[Port] = []
    if pod or service:
        local = service.get("externalTrafficPolicy").text == "Local"
        why = "" if local else "the front takes connections that nodes or a load balancer passed on"
        ports.append(Port(25, True, why, _LOCAL_FIX, document.file, (service or document.get("front")).line))
        if document.get("ingress", "proxyProtocol") or document.get("front", "proxyProtocol"):
            settings["PROXY_PROTOCOL"] = Setting("mail", document.file, document.line)
    yield Workload("values", "mailu", settings, tuple(ports), document.file, document.line)
