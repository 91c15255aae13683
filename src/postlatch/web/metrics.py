"""The catalogue of metrics, and the Prometheus text made from what was counted. Nothing is counted that is not in it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from postlatch.journal.counters import Sample

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metric(NamedTuple):
    """One metric of the catalogue. ``labels`` in the order in which they are counted."""

    type: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


METRICS: Mapping[str, Metric] = {
    "postlatch_messages_accepted_total": Metric("counter", "Messages committed to the queue and answered 250.", ("listener",)),
    "postlatch_recipients_refused_total": Metric("counter", "Recipients answered 5xx, by rule.", ("listener", "rule")),
    "postlatch_header_fixes_total": Metric("counter", "Headers of accounts and rights that were mended.", ("listener", "fix")),
    "postlatch_connections_total": Metric("counter", "Connections that clients opened.", ("listener",)),
    "postlatch_senders_refused_total": Metric("counter", "MAIL commands answered 5xx, by rule.", ("listener", "rule")),
    "postlatch_messages_refused_total": Metric("counter", "Whole messages answered 5xx, by rule.", ("listener", "rule")),
    "postlatch_deferred_total": Metric("counter", "Connections and commands answered 4xx, by rule.", ("listener", "rule")),
    "postlatch_connections_open": Metric("gauge", "Connections of clients that are open now.", ("listener",)),
    "postlatch_connections_refused_total": Metric("counter", "Connections refused before the greeting.", ("listener", "rule")),
    "postlatch_auth_total": Metric("counter", "Logins tried, by result.", ("result",)),
    "postlatch_directory_answers_total": Metric("counter", "What directories answered.", ("directory", "outcome")),
    "postlatch_auth_waiting": Metric("gauge", "Failed logins whose answers wait."),
    "postlatch_bans": Metric("gauge", "Bans in force."),
    "postlatch_bans_total": Metric("counter", "Bans made, by what was seen or who decided.", ("kind",)),
    "postlatch_bans_refused_total": Metric("counter", "Bans not made: they would have hit somebody never banned.", ("kind",)),
    "postlatch_deliveries_total": Metric("counter", "Attempts to deliver to a recipient, by outcome.", ("outcome",)),
    "postlatch_destinations": Metric("gauge", "Next hops that delivery works on or remembers, by state.", ("state",)),
    "postlatch_delivery_waiting": Metric("gauge", "Messages in memory that wait for their delivery, by class.", ("priority",)),
    "postlatch_delivery_active": Metric("gauge", "Deliveries under way now."),
    "postlatch_delivery_due_rate": Metric("gauge", "Messages a second that may be taken from the queue when they are due."),
    "postlatch_delivery_network_up": Metric("gauge", "0 while no next hop at all can be reached, else 1."),
    "postlatch_delivery_put_back_total": Metric("counter", "Messages put back into the queue without an attempt.", ("reason",)),
    "postlatch_dkim_signed_total": Metric("counter", "Signatures made for mail of ours, by algorithm.", ("algorithm",)),
    "postlatch_queue_recipients": Metric("gauge", "Recipients in the queue now, by state.", ("state",)),
    "postlatch_queue_oldest_seconds": Metric("gauge", "Age of the oldest recipient that is neither final nor held."),
    "postlatch_commit_seconds": Metric("histogram", "How long a commit took until it was on disk."),
    "postlatch_commit_batch_size": Metric("histogram", "Submissions that one commit took."),
    "postlatch_store_healthy": Metric("gauge", "1 while the database writes, else 0; mail is then answered 451."),
    "postlatch_policy_version": Metric("gauge", "Version of the policy that is installed."),
    "postlatch_policy_proved_timestamp_seconds": Metric("gauge", "When the installed policy was proved closed."),
    "postlatch_limits_reached_total": Metric("counter", "Times that a limit was met.", ("limit",)),
    "postlatch_certificate_expiry_timestamp_seconds": Metric("gauge", "When a listener's certificate ends.", ("listener",)),
    "postlatch_proxy_headers_total": Metric(
        "counter",
        "Connections to listeners behind a proxy, and unexpected PROXY headers, by what came.",
        ("listener", "result"),
    ),
    "postlatch_masks": Metric(
        "gauge", "Masks that were found and not lifted: clients without their own addresses.", ("listener",)
    ),
    "postlatch_self_audit_closed": Metric(
        "gauge", "1 where the latest self-audit found the listener closed, else 0.", ("listener", "address")
    ),
    "postlatch_alerts_total": Metric("counter", "Alerts raised, by kind.", ("kind",)),
    "postlatch_sender_checks_total": Metric(
        "counter", "Checks of who sent a stranger's message, by result (RFC 8601).", ("check", "result")
    ),
    "postlatch_dns_list_answers_total": Metric("counter", "What DNS lists said of strangers.", ("list", "result")),
    "postlatch_greylist_total": Metric("counter", "Recipients of strangers that greylisting judged.", ("result",)),
    "postlatch_dkim_replays_total": Metric(
        "counter", "Messages whose signature had come too often already, by what was done.", ("result",)
    ),
    "postlatch_mta_sts_fetches_total": Metric(
        "counter", "MTA-STS policies that were asked for, by what came of it.", ("result",)
    ),
    "postlatch_dnssec_validating": Metric("gauge", "1 while the resolver that `outbound.dnssec` declares to validate does."),
    "postlatch_reports_total": Metric(
        "counter", "Reports received or sent by mail, by what became of them.", ("kind", "result")
    ),
    "postlatch_shed_total": Metric("counter", "Clients turned away to keep the relay up, by reason.", ("listener", "reason")),
    "postlatch_stress": Metric("gauge", "1 while the relay is under stress, else 0."),
    "postlatch_connections_by_state": Metric("gauge", "Connections of clients, by what they are doing.", ("listener", "state")),
    "postlatch_in_use": Metric("gauge", "How much is in use of what is capped.", ("what",)),
    "postlatch_cap": Metric("gauge", "The caps in force.", ("what",)),
    "postlatch_loop_lag_seconds": Metric("gauge", "By how much the event loop was late at worst in the last second."),
    "postlatch_store_lag_seconds": Metric("gauge", "How long the database takes now until a commit is on disk."),
    "postlatch_process_resident_memory_bytes": Metric("gauge", "Memory in use, by process.", ("process",)),
}


class UnknownMetric(ValueError):
    """Something was counted under a name, or with labels, that the catalogue does not have. A mistake in this program."""


class _Samples(Collector):
    """A collector over what was counted elsewhere."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = samples

    def collect(self) -> Iterator[Family]:
        by_name: dict[str, list[Sample]] = {}
        for sample in self._samples:
            by_name.setdefault(sample["name"], []).append(sample)
        if unknown := by_name.keys() - METRICS.keys():
            raise UnknownMetric(f"not in the catalogue: {', '.join(sorted(unknown))}")
        for name, metric in METRICS.items():
            yield _family(name, metric, by_name.get(name, ()))


def _family(name: str, metric: Metric, samples: Iterable[Sample]) -> Family:
    family = Family(name.removesuffix("_total"), metric.help, metric.type)
    for sample in samples:
        if len(sample["labels"]) != len(metric.labels):
            raise UnknownMetric(f"{name} is counted with {len(sample['labels'])} labels, not {len(metric.labels)}")
        labels = dict(zip(metric.labels, sample["labels"], strict=True))
        if metric.type == "histogram":
            _add_histogram(family, name, labels, sample)
        else:
            family.add_sample(name, labels, sample["value"])
    return family


def _add_histogram(family: Family, name: str, labels: dict[str, str], sample: Sample) -> None:
    for bound, count in (*sample.get("buckets", ()), (math.inf, sample["value"])):
        family.add_sample(f"{name}_bucket", {**labels, "le": "+Inf" if bound == math.inf else repr(float(bound))}, count)
    family.add_sample(f"{name}_count", labels, sample["value"])
    family.add_sample(f"{name}_sum", labels, sample.get("sum", 0.0))


def exposition(samples: Sequence[Sample]) -> bytes:
    """The Prometheus text format 0.0.4. Metrics of which nothing was counted have their HELP and TYPE. Raises UnknownMetric."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Samples(samples))
    return generate_latest(registry)
