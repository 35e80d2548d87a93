"""What must hold of a data plane after everything in it was killed: nothing is lost, doubled or stuck."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reference.crash_observing import Acknowledged, Observer, observing, settled
from reference.crash_work import CHILDREN, MODULE, STEPS
from reference.crashing import Crew

from quantum_suite.core.events import Event
from quantum_suite.hub.settings import HubSettings
from quantum_suite.services.audit.chain.checkpoints import CheckpointFile, public_keys
from quantum_suite.services.audit.findings import Report
from quantum_suite.services.audit.verify import verify
from quantum_suite.services.workflows.interface import Run


async def check_log(observer: Observer, told: Acknowledged) -> int:
    """Every acknowledged event is there once, in its place; all ways to read agree. Returns their number."""
    log, stored = await observer.log(), await observer.stored()
    assert [(event.position, event.id) for event in log] == [(event.position, event.id) for event in stored]
    assert len({event.id for event in log}) == len({event.position for event in log}) == len(log)
    streams: dict[str, list[Event]] = {}
    for event in log:
        streams.setdefault(event.stream, []).append(event)
    for stream, events in streams.items():
        assert [event.version for event in events] == list(range(1, len(events) + 1)), stream
    for stream, ids in told.appended.items():
        there = {event.version: event.id for event in streams[stream]}
        assert ids.items() <= there.items(), ids.items() - there.items()
        assert [event.data["files_left"] for event in streams[stream]] == list(range(1, len(there) + 1))
    assert await observer.stores.events.count() == len(log)
    records = Counter(event.correlation_id for event in log if event.type.startswith("hub.call."))
    assert set(records) >= told.recorded, told.recorded - set(records)
    assert max(records.values(), default=1) == 1, records.most_common(3)
    return len(log)


async def check_followers(observer: Observer) -> None:
    """Projection and consumers have dealt with each event once; nothing was put aside."""
    wanted = [event.id for event in await observer.log() if event.type.startswith(MODULE)]
    assert await observer.column("SELECT event FROM projected ORDER BY number") == wanted
    for consumer in observer.consumers:
        handled = await observer.column(f"SELECT event FROM handled WHERE consumer = '{consumer}'")
        assert sorted(handled) == sorted(wanted), consumer
    parked = await observer.stores.progress.parked()
    assert parked == [], parked


async def check_runs(observer: Observer, told: Acknowledged) -> int:
    """Every run that was acknowledged is completed, and every step had its effect once. Returns their number."""
    runs = {run.id: run for run in await observer.runs()}
    assert told.started <= runs.keys(), told.started - runs.keys()
    failed = [(run.id, run.workflow, run.state, run.failure) for run in runs.values() if run.state != "completed"]
    assert failed == [], failed
    tokens: dict[str, dict[str, str]] = {}
    for key, run_id, token in await observer.world.rows("SELECT key, run, token FROM effects"):
        tokens.setdefault(run_id, {})[key] = token
    assert tokens.keys() == runs.keys(), tokens.keys() ^ runs.keys()
    children = Counter(run.parent for run in runs.values() if run.parent is not None)
    for run in runs.values():
        effects = tokens[run.id]
        assert len(effects) == STEPS[run.workflow], (run, effects)
        assert children[run.id] == CHILDREN[run.workflow], run
        of_children = [
            token for child in runs.values() if child.parent == run.id for token in tokens[child.id].values()
        ]
        signal = [run.id] if run.workflow == "asking" else []
        assert sorted(_leaves(run.result)) == sorted([*effects.values(), *of_children, *signal]), run
    await _check_told(observer, runs)
    return len(runs)


async def _check_told(observer: Observer, runs: dict[str, Run]) -> None:
    """Every transition is told of once, from the start to the end."""
    names: dict[str, list[str]] = {}
    for event in await observer.log():
        if event.stream.startswith("orchestrator.run/"):
            names.setdefault(str(event.correlation_id), []).append(event.type.removesuffix(".v1"))
    assert names.keys() == runs.keys(), names.keys() ^ runs.keys()
    for run_id, told in names.items():
        assert (told[0], told[-1]) == ("orchestrator.run.started", "orchestrator.run.completed"), (run_id, told)
        counted = Counter(told)
        assert counted["orchestrator.run.started"] == counted["orchestrator.run.completed"] == 1
        waits = {"asking": 1, "family": 1 + CHILDREN["family"]}.get(runs[run_id].workflow, 0)
        assert counted["orchestrator.step.completed"] == STEPS[runs[run_id].workflow] + waits, (run_id, told)


def _leaves(value: Any) -> list[str]:
    return [leaf for part in value for leaf in _leaves(part)] if isinstance(value, list) else [value]


async def check_chain(observer: Observer, files: Sequence[Path]) -> Report:
    """The audit chain verifies, beside every file of checkpoints there is."""
    keys, stores = await public_keys(observer.stores.keys), observer.stores
    # A chain that nobody had the time to sign yet has no file.
    for file in [CheckpointFile(file) for file in files if file.exists()] or [None]:
        report = await verify(stores.chain, keys, events=stores.events, checkpoint_file=file)
        assert report.findings == (), report.findings
        assert (report.records, report.pending_events) == (report.events, 0)
    return report


async def check_leases(observer: Observer, living: set[str]) -> None:
    """Every lease is free, or held by somebody who lives."""
    held = await observer.stores.leases.holders("")
    ended = {name: holder for name, holder in held.items() if holder not in living}
    ended.pop("objects.retention", None)  # kept until the next pass by design, whoever made the last one
    assert ended == {}, ended


async def check(crew: Crew, settings: HubSettings, directory: Path) -> str:
    """Have what was tormented come to rest, check everything, and end it in order; returns what was seen."""
    for child in crew.children:
        child.ask_for_quiet()
    await crew.ready()
    async with observing(settings, directory) as observer:
        told = await settled(observer, crew)
        events, runs = await check_log(observer, told), await check_runs(observer, told)
        await check_followers(observer)
        homes = {Path(child.order.settings["data_dir"]) for child in crew.children}
        files = [home / "audit" / "checkpoints.jsonl" for home in homes]
        report = await check_chain(observer, files)
        crew.look_after()
        await crew.end()
        await check_leases(observer, set())
        tried = await observer.column("SELECT count(*) - count(DISTINCT key) FROM attempts")
        again = await observer.column("SELECT count(*) - count(DISTINCT consumer || event) FROM handlings")
    return (
        f"kills {crew.kills}; {events} events, {sum(map(len, told.appended.values()))} acknowledged, "
        f"{len(told.recorded)} calls, {runs} runs, {report.records} chained, {report.checkpoints} checkpoints; "
        f"tried again: {tried[0]} steps, {again[0]} messages"
    )
