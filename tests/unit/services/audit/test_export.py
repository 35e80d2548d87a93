"""Exports: every event a line, in the standard's words, without what is said of people."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

import orjson
import pytest

from quantum_suite.core.events import EventData, NewEvent
from quantum_suite.services.audit.call_events import CALL_EVENTS, CallAccepted, CallEnded
from quantum_suite.services.audit.export import export
from quantum_suite.services.encryption.event_cipher import KeyedEventCipher
from quantum_suite.services.encryption.memory import MemoryKeyProvider
from quantum_suite.services.encryption.subjects.memory import memory_subject_keys
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.registry import EventRegistry

pytestmark = pytest.mark.anyio


class ScanCompleted(EventData):
    event_type: ClassVar[str] = "qsecure.scan.completed"
    findings: int


class RunPaused(EventData):
    event_type: ClassVar[str] = "orchestrator.run.paused"


CALL = {
    "transport": "http",
    "method": "tools/call",
    "target": "qsecure_scan",
    "upstream": "qsecure",
    "arguments_sha256": "0" * 64,
    "era": "modern",
    "protocol_version": "2026-07-28",
    "client_name": "an assistant",
}

# https://github.com/ocsf/ocsf-schema at v1.2.0: what base_event with its includes, and each class, require.
REQUIRED_OF_ALL = {"activity_id", "category_uid", "class_uid", "type_uid", "severity_id", "time", "metadata"}
REQUIRED = {6002: {"app"}, 6003: {"actor", "api", "src_endpoint"}, 6007: {"scan"}}
# Objects: attributes that are required, and those of which one must be there.
OBJECTS = {
    "metadata": ({"product", "version"}, set()),
    "product": ({"vendor_name"}, {"name", "uid"}),
    "app": ({"vendor_name"}, {"name", "uid"}),
    "feature": (set(), {"name", "uid"}),
    "actor": (set(), {"process", "user", "invoked_by", "session", "app_name", "app_uid"}),
    "user": (set(), {"account", "name", "uid"}),
    "api": ({"operation"}, set()),
    "service": (set(), {"name", "uid"}),
    "request": ({"uid"}, set()),
    "src_endpoint": (set(), {"ip", "uid", "name", "hostname", "svc_name"}),
    "scan": ({"type_id"}, {"name", "uid"}),
}
ACTIVITIES = {6002: {0, 1, 2, 3, 4, 99}, 6003: {0, 1, 2, 3, 4, 99}, 6007: {*range(11), 99}}


def require_complete(name: str, value: Mapping[str, Any]) -> None:
    required, one_of = OBJECTS.get(name, (set(), set()))
    assert required <= value.keys(), name
    assert not one_of or one_of & value.keys(), name
    for inner, content in value.items():
        if isinstance(content, dict) and inner != "unmapped":
            require_complete(inner, content)


async def lines(store: MemoryEventStore, form: Any, **limits: Any) -> list[dict[str, Any]]:
    return [orjson.loads(line) async for line in export(store, form, **limits)]


@pytest.fixture
async def store() -> MemoryEventStore:
    provider = MemoryKeyProvider()
    cipher = KeyedEventCipher(provider, memory_subject_keys(provider))
    store = MemoryEventStore(EventRegistry([*CALL_EVENTS, ScanCompleted, RunPaused]), cipher)
    ended = [("ok", None), ("refused", "hidden"), ("error:internal", None), ("cancelled", None)]
    calls: list[CallAccepted] = [CallAccepted(**CALL)]
    calls += [CallEnded(**CALL, outcome=outcome, reason=reason, duration_ms=1.5) for outcome, reason in ended]
    calls.append(CallEnded(**{**CALL, "method": "resources/read", "target": None, "upstream": None}, outcome="ok"))
    news = [
        NewEvent(data, principal="key:ann" if n else None, correlation_id=f"call_{n}")
        for n, data in enumerate(calls)
    ]
    for n, event in enumerate(news):
        await store.append("hub.calls/1", n, [event])
    said = {"key:ann": {"email": "ann@example.org"}}
    await store.append("qsecure.scan/scan_1", 0, [NewEvent(ScanCompleted(findings=3), personal=said)])
    await store.append("orchestrator.run/run_1", 0, [NewEvent(RunPaused())])
    return store


async def test_every_ocsf_object_has_what_the_schema_requires(store: MemoryEventStore) -> None:
    exported = await lines(store, "ocsf")
    assert [value["class_uid"] for value in exported] == [6003] * 6 + [6007, 6002]
    for value in exported:
        assert value.keys() >= REQUIRED_OF_ALL | REQUIRED[value["class_uid"]]
        assert value["category_uid"] == value["class_uid"] // 1000
        assert value["activity_id"] in ACTIVITIES[value["class_uid"]]
        assert value["type_uid"] == value["class_uid"] * 100 + value["activity_id"]
        assert value["severity_id"] in range(7)
        assert isinstance(value["time"], int)
        require_complete("", value)


async def test_calls_say_who_asked_for_what_and_how_it_ended(store: MemoryEventStore) -> None:
    accepted, ok, refused, broken, cancelled, read = (await lines(store, "ocsf"))[:6]
    assert (accepted["status_id"], accepted["status"]) == (99, "accepted")
    assert (ok["status_id"], ok["actor"]["user"]["uid"], ok["api"]["operation"]) == (1, "key:ann", "tools/call")
    assert (refused["status_id"], refused["status_detail"], refused["severity_id"]) == (2, "hidden", 2)
    assert (broken["status_id"], broken["status_code"], broken["severity_id"]) == (2, "error:internal", 3)
    assert cancelled["status_id"] == 99
    assert (read["activity_id"], read["api"]["service"]["name"]) == (2, "hub")
    assert ok["metadata"]["correlation_uid"] == ok["api"]["request"]["uid"] == "call_1"


async def test_json_lines_are_cloud_events(store: MemoryEventStore) -> None:
    exported = await lines(store, "jsonl")
    assert len(exported) == 8
    assert {value["specversion"] for value in exported} == {"1.0"}
    assert exported[6]["data"] == {"findings": 3}


@pytest.mark.parametrize("form", ["jsonl", "ocsf"])
async def test_what_is_said_of_people_is_left_out(store: MemoryEventStore, form: Any) -> None:
    assert "ann@example.org" not in str(await lines(store, form))


async def test_an_export_may_be_limited_in_time_and_goes_through_every_page() -> None:
    store = MemoryEventStore(EventRegistry([RunPaused]))
    for hour in range(24):
        time = datetime(2026, 1, 1, hour, tzinfo=UTC)
        await store.append(f"orchestrator.run/{hour}", 0, [NewEvent(RunPaused(), time=time) for _ in range(100)])
    limits = {"since": datetime(2026, 1, 1, 10, tzinfo=UTC), "until": datetime(2026, 1, 1, 12, tzinfo=UTC)}
    exported = await lines(store, "jsonl", **limits)
    assert {value["stream"] for value in exported} == {"orchestrator.run/10", "orchestrator.run/11"}
    assert len(exported) == 200
    assert len(await lines(store, "ocsf")) == 2400
