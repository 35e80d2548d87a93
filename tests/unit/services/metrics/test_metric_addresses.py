"""Sources are named in a setting, and let in by what the environment holds."""

import pytest

from quantum_suite.core.errors import CallerError, ConfigurationError
from quantum_suite.services.metrics.configuration import read_addresses
from quantum_suite.services.metrics.memory import MemorySource
from quantum_suite.services.metrics.opening import open_metrics
from quantum_suite.services.metrics.sources import MetricSources

SETTING = "QUANTUM_METRICS"


def test_pairs_are_read_in_order_and_a_lone_url_has_a_name() -> None:
    found = read_addresses(SETTING, "live=http://a:9090/, eu-west=https://b/prometheus/ ,", {})
    assert [(one.name, one.url) for one in found] == [
        ("live", "http://a:9090"),
        ("eu-west", "https://b/prometheus"),
    ]
    (alone,) = read_addresses(SETTING, "http://a:9090", {})
    assert (alone.name, alone.client) == ("default", "")
    (library,) = read_addresses(SETTING, "x=prometheus-api-client+https://a", {})
    assert (library.url, library.client) == ("https://a", "prometheus-api-client")
    assert read_addresses(SETTING, "", {}) == []


def test_credentials_come_from_the_environment_and_stay_out_of_sight() -> None:
    environ = {
        "QUANTUM_METRICS_EU_WEST_TOKEN": "t0ken-value",
        "QUANTUM_METRICS_LIVE_USER": "ann",
        "QUANTUM_METRICS_LIVE_PASSWORD": "pass-word",
        "QUANTUM_METRICS_LIVE_HEADERS": "X-Scope-OrgID: team-a; X-Other: b c",
    }
    live, west = read_addresses(SETTING, "live=http://a,eu-west=http://b", environ)
    assert west.headers == {"authorization": "Bearer t0ken-value"}
    assert live.headers == {
        "authorization": "Basic YW5uOnBhc3Mtd29yZA==",
        "x-scope-orgid": "team-a",
        "x-other": "b c",
    }
    assert "t0ken" not in repr(west)
    assert "YW5u" not in repr(live)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("live=ftp://a", "cannot be used"),
        ("live=http://", "cannot be used"),
        ("live=http://a:99999", "cannot be used"),
        ("live=http://[::1", "cannot be used"),
        ("live=a:9090", "cannot be used"),
        ("9=http://a", "cannot be used"),
        ("live=http://a b", "not of the form"),
        ("live=http://ann:secret@a", "holds credentials"),
        ("live=http://a?x=1", "has a query"),
        ("live=http://a,live=http://b", "is there twice"),
    ],
)
def test_what_cannot_be_used_is_refused_without_showing_secrets(text: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told) as caught:
        read_addresses(SETTING, text, {})
    assert "secret" not in str(caught.value)
    assert SETTING in str(caught.value)


@pytest.mark.parametrize(
    "environ",
    [
        {"QUANTUM_METRICS_LIVE_TOKEN": "a", "QUANTUM_METRICS_LIVE_USER": "b"},
        {"QUANTUM_METRICS_LIVE_HEADERS": "no colon"},
        {"QUANTUM_METRICS_LIVE_HEADERS": "X-A: b\r\nX-C: d"},
    ],
)
def test_credentials_that_contradict_or_smuggle_are_refused(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        read_addresses(SETTING, "live=http://a", environ)


def test_a_source_is_found_by_its_name_and_a_lone_one_without() -> None:
    one, other = MemorySource("one"), MemorySource("other")
    assert MetricSources({"one": one}).get() is one
    both = MetricSources({"one": one, "other": other})
    assert both.get("other") is other
    assert list(both.names) == ["one", "other"]
    with pytest.raises(CallerError, match=r"more than one.*one, other") as caught:
        both.get()
    assert caught.value.argument == "source"
    with pytest.raises(CallerError, match=r"no source of metrics named 'third'"):
        both.get("third")


def test_without_any_the_answer_is_how_to_name_one() -> None:
    with pytest.raises(CallerError, match="QUANTUM_METRICS"):
        MetricSources().get()
    with pytest.raises(CallerError, match="QUANTUM_ALERTMANAGER"):
        MetricSources().alert_manager()


@pytest.mark.anyio
async def test_an_alertmanager_is_no_source_for_the_library() -> None:
    with pytest.raises(ConfigurationError, match="QUANTUM_ALERTMANAGER"):
        async with open_metrics(None, "main=prometheus-api-client+http://a", environ={}):
            pass
