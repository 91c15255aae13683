from __future__ import annotations

import json
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from postlatch.journal.counters import BOUNDS, Counters, Sample
from postlatch.web.metrics import METRICS, UnknownMetric, exposition

Found = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(samples: list[Sample]) -> Found:
    found: Found = {}
    for family in text_string_to_metric_families(exposition(samples).decode()):
        for sample in family.samples:
            found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return found


def counted() -> Counters:
    """Everything in the catalogue, once."""
    counters = Counters()
    for name, metric in METRICS.items():
        labels = tuple(f"some {label}" for label in metric.labels)
        if metric.type == "histogram":
            counters.observe(name, 3, labels)
        else:
            counters.inc(name, labels, 2)
    return counters


@pytest.mark.parametrize("name", METRICS)
def test_each_metric_is_named_as_prometheus_wants_it(name: str) -> None:
    metric = METRICS[name]
    assert re.fullmatch(r"postlatch_[a-z_]+[a-z]", name)
    assert name.endswith("_total") == (metric.type == "counter")
    assert (name in BOUNDS) == (metric.type == "histogram")
    assert metric.help.endswith(".")
    assert len(set(metric.labels)) == len(metric.labels)


def test_all_that_was_counted_comes_out_through_json() -> None:
    samples = json.loads(json.dumps(counted().snapshot()))
    found = parsed(samples)
    for name, metric in METRICS.items():
        labels = tuple(sorted((label, f"some {label}") for label in metric.labels))
        if metric.type == "histogram":
            assert found[f"{name}_count", labels] == 1
            assert found[f"{name}_sum", labels] == 3
            assert found[f"{name}_bucket", (*labels, ("le", "+Inf"))] == 1
        else:
            assert found[name, labels] == 2


def test_buckets_grow_and_end_with_the_count() -> None:
    counters = Counters()
    for size in (1, 1, 7, 5000):
        counters.observe("postlatch_commit_batch_size", size)
    found = parsed(counters.snapshot())
    values = [value for (name, _), value in found.items() if name == "postlatch_commit_batch_size_bucket"]
    assert values == sorted(values)
    assert len(values) == len(BOUNDS["postlatch_commit_batch_size"]) + 1
    assert found["postlatch_commit_batch_size_bucket", (("le", "1.0"),)] == 2
    assert found["postlatch_commit_batch_size_bucket", (("le", "+Inf"),)] == 4


def test_a_metric_of_which_nothing_was_counted_is_still_described() -> None:
    text = exposition([]).decode()
    for name, metric in METRICS.items():
        assert f"# HELP {name} {metric.help}\n" in text
        assert f"# TYPE {name} {metric.type}\n" in text


def test_a_hostile_label_stays_inside_its_quotes() -> None:
    label = 'x"} 1\npostlatch_store_healthy 0\n\\'
    found = parsed([{"name": "postlatch_auth_total", "labels": [label], "value": 1}])
    assert found == {("postlatch_auth_total", (("result", label),)): 1}


@pytest.mark.parametrize(
    "sample",
    [
        {"name": "postlatch_new_total", "labels": [], "value": 1},
        {"name": "postlatch_auth_total", "labels": [], "value": 1},
        {"name": "postlatch_store_healthy", "labels": ["x"], "value": 1},
    ],
)
def test_what_the_catalogue_does_not_have_is_an_error(sample: Sample) -> None:
    with pytest.raises(UnknownMetric):
        exposition([sample])
