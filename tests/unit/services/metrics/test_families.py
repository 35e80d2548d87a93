"""Metrics are told by family, and found by words."""

import pytest

from quantum_suite.services.metrics.families import families_of, fitting, prefix_of
from quantum_suite.services.metrics.interface import MetricMetadata

KNOWN = {
    "http_requests": MetricMetadata("counter", "Requests that were answered."),
    "http_request_duration_seconds": MetricMetadata("histogram", "How long requests took.", "seconds"),
    "node_memory_MemAvailable_bytes": MetricMetadata("gauge", "Memory that programs may still have."),
    "process_open_fds": MetricMetadata("gauge", "Number of open file descriptors."),
    "rpc_size": MetricMetadata("summary", "Sizes of messages."),
    "build": MetricMetadata("info", "What runs."),
    "http_errors_total": MetricMetadata("counter", "Requests that failed."),
}
NAMES = [
    "http_requests_total",
    "http_requests_created",
    "http_request_duration_seconds_bucket",
    "http_request_duration_seconds_count",
    "http_request_duration_seconds_sum",
    "node_memory_MemAvailable_bytes",
    "process_open_fds",
    "rpc_size",
    "rpc_size_sum",
    "build_info",
    "http_errors_total",
    "job:http_requests:rate5m",
    "people_count",
]
FAMILIES = families_of(NAMES, KNOWN, dict.fromkeys(NAMES, 2), frozenset())


def names(about: str) -> list[str]:
    return [family.name for family in fitting(FAMILIES, about)]


def test_what_is_declared_together_is_told_together() -> None:
    found = {family.name: family for family in FAMILIES}
    assert found["http_request_duration_seconds"].metrics == (
        "http_request_duration_seconds_bucket",
        "http_request_duration_seconds_count",
        "http_request_duration_seconds_sum",
    )
    assert found["http_request_duration_seconds"].series == 6
    assert found["http_requests"].metrics == ("http_requests_created", "http_requests_total")
    assert found["rpc_size"].metrics == ("rpc_size", "rpc_size_sum")
    assert found["build"].metrics == ("build_info",)
    assert found["http_errors_total"].metadata.type == "counter"
    assert found["people_count"].metadata.type == "unknown"
    assert found["job:http_requests:rate5m"].recorded
    assert not found["http_requests"].recorded


def test_what_was_not_counted_has_no_number() -> None:
    (family,) = families_of(["a"], {}, {}, frozenset({"a"}))
    assert family.series is None
    assert family.recorded


@pytest.mark.parametrize(
    ("about", "first"),
    [
        ("memory", "node_memory_MemAvailable_bytes"),
        ("how much memory is available", "node_memory_MemAvailable_bytes"),
        ("file descriptors", "process_open_fds"),
        ("http error", "http_errors_total"),
        ("duration of requests", "http_request_duration_seconds"),
        ("http_request_duration_seconds_bucket", "http_request_duration_seconds"),
        ("message size", "rpc_size"),
    ],
)
def test_words_of_names_and_help_texts_find_them(about: str, first: str) -> None:
    assert names(about)[0] == first


def test_what_nothing_has_to_do_with_is_not_found() -> None:
    assert names("zebra") == []


def test_a_name_begins_with_who_exports_it() -> None:
    assert [prefix_of(name) for name in ("node_cpu", "job:x:rate5m", "up", "http_a")] == [
        "node",
        "job",
        "up",
        "http",
    ]
