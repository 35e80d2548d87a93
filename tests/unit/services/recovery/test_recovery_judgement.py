"""Which way of recovery reaches the objectives, and what exactly is missing."""

import json
from pathlib import Path
from typing import Any

import pytest

from quantum_suite.resources.qinfra.recovery_markdown import recovery_markdown
from quantum_suite.services.recovery.facts import Replica, ServerFacts, Slot
from quantum_suite.services.recovery.interface import DrillReport, DrillRequest, Objectives
from quantum_suite.services.recovery.known_backups import KnownBackup, known_backups
from quantum_suite.services.recovery.plan import RecoveryPlan, make_plan

NOTHING_LOST = Objectives(rto_seconds=5, rpo_rows=0)
A_MINUTE = Objectives(rto_seconds=5, rpo_seconds=60)
SYNC = Replica(name="standby1", state="streaming", sync_state="sync", lag_bytes=0, lag_seconds=0.0)
BACKUP = KnownBackup(
    folder="monday",
    taken="2026-11-02T01:00:00+00:00",
    size_bytes=1,
    files=1,
    system_identifier="7",
    checksummed=True,
)


def facts(settings: dict[str, str] | None = None, **values: Any) -> ServerFacts:
    whole = {
        "wal_level": "replica",
        "archive_mode": "on",
        "archive_command": "set",
        "archive_library": "empty",
        "archive_timeout": "30",
        "max_wal_senders": "10",
        "max_replication_slots": "10",
        "synchronous_standby_names": "ANY 1 (standby1)",
        "synchronous_commit": "on",
        "wal_log_hints": "on",
        "data_checksums": "on",
        "fsync": "on",
        "full_page_writes": "on",
    }
    return ServerFacts.model_validate(
        {
            "version": "18.1",
            "major": 18,
            "in_recovery": False,
            "size_bytes": 10,
            "unseen_databases": 0,
            "tablespaces": 0,
            "system_identifier": "7",
            "settings": whole | (settings or {}),
            "archived": 3,
            "archive_failures": 0,
            "archived_seconds_ago": 5.0,
            "archive_failing": False,
            "wal_bytes_a_second": 10.0,
            "replicas": (SYNC,),
            "slots": (),
            "may_replicate": True,
            **values,
        }
    )


def drilled(kind: str, *seconds: float) -> list[DrillReport]:
    return [
        DrillReport(
            id=f"drill_{number}",
            request=DrillRequest.model_validate({"kind": kind}),
            state="measured",
            began="2026-11-01T00:00:00+00:00",
            seconds=20,
            rto_seconds=rto,
        )
        for number, rto in enumerate(seconds)
    ]


def plan(objectives: Objectives, looked: ServerFacts, *times: float, backups: Any = (BACKUP,)) -> RecoveryPlan:
    drills: Any = {"failover": drilled("failover", *times), "point_in_time": drilled("point_in_time", *times)}
    return make_plan("plan_x", "postgresql://u@db:5432/d", objectives, looked, backups, [], drills)


def test_what_is_set_up_and_drilled_in_time_reaches_the_objectives() -> None:
    failover, restore = plan(NOTHING_LOST, facts(), 1.0, 2.0).strategies
    assert (failover.reach, failover.gaps) == ("yes", ())
    assert failover.evidence is not None
    assert (failover.evidence.drills, failover.evidence.median_seconds) == (2, 1.5)
    assert restore.reach == "no"
    assert "cannot promise that nothing is lost" in restore.why
    assert [one.reach for one in plan(A_MINUTE, facts(), 1.0).strategies] == ["yes", "yes"]


def test_what_was_never_drilled_has_no_time() -> None:
    made = plan(A_MINUTE, facts())
    assert [one.reach for one in made.strategies] == ["not_drilled", "not_drilled"]
    assert "Expected recovery time: not drilled yet." in recovery_markdown(made)


@pytest.mark.parametrize("times", [(9.0, 9.0), (1.0, 1.0, 9.0)])
def test_drills_that_took_too_long_say_no(times: tuple[float, ...]) -> None:
    assert plan(A_MINUTE, facts(), *times).strategies[0].reach == "no"


@pytest.mark.parametrize(
    ("settings", "way", "change"),
    [
        ({"wal_level": "minimal"}, 0, "ALTER SYSTEM SET wal_level = 'replica'"),
        ({"max_wal_senders": "1"}, 0, "ALTER SYSTEM SET max_wal_senders = 4"),
        ({"max_replication_slots": "0"}, 0, "ALTER SYSTEM SET max_replication_slots = 2"),
        ({"wal_log_hints": "off", "data_checksums": "off"}, 0, "ALTER SYSTEM SET wal_log_hints = on"),
        ({"archive_mode": "off"}, 1, "ALTER SYSTEM SET archive_mode = on"),
        ({"archive_command": "empty"}, 1, "Set archive_command to a command that encrypts %p"),
        ({"archive_timeout": "0"}, 1, "ALTER SYSTEM SET archive_timeout = '30s'; SELECT pg_reload_conf()"),
        ({"archive_timeout": "300"}, 1, "ALTER SYSTEM SET archive_timeout = '30s'; SELECT pg_reload_conf()"),
    ],
)
def test_a_setting_that_is_missing_is_named_with_its_value(
    settings: dict[str, str], way: int, change: str
) -> None:
    strategy = plan(A_MINUTE, facts(settings), 1.0).strategies[way]
    (gap,) = strategy.gaps
    assert gap.change.startswith(change)
    assert strategy.reach == ("after_changes" if gap.required else "yes")


def test_losing_nothing_takes_a_commit_that_waits_for_the_replica() -> None:
    alone = facts({"synchronous_standby_names": "", "synchronous_commit": "local"}, replicas=())
    changes = [gap.change for gap in plan(NOTHING_LOST, alone).strategies[0].gaps]
    assert any("pg_basebackup" in change for change in changes)
    assert any("synchronous_standby_names" in change for change in changes)
    assert any("synchronous_commit = 'on'" in change for change in changes)


def test_a_replica_that_is_behind_and_an_archive_that_fails_are_gaps() -> None:
    late = SYNC.model_copy(update={"sync_state": "async", "lag_seconds": 90.0})
    failover, restore = plan(A_MINUTE, facts(replicas=(late,), archive_failing=True), 1.0, backups=()).strategies
    assert "90.0 s behind" in failover.gaps[0].what
    assert [gap.what.partition(" ")[0] for gap in restore.gaps] == ["Archiving", "No"]


def test_what_else_is_wrong_is_told() -> None:
    slot = Slot(name="old", active=False, retained_bytes=5, wal_status="extended")
    looked = facts({"fsync": "off"}, slots=(slot,), in_recovery=True, unseen=("the lag of replicas",))
    strange = BACKUP.model_copy(update={"system_identifier": "8"})
    page = recovery_markdown(plan(A_MINUTE, looked, backups=(strange,)))
    for told in (
        "Slot old is not in use",
        "fsync is off",
        "itself a replica",
        "GRANT pg_monitor",
        "another server's",
    ):
        assert told in page


def test_backups_are_known_by_their_manifests(tmp_path: Path) -> None:
    def manifest(name: str, content: object) -> None:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "backup_manifest").write_text(json.dumps(content))

    file = {"Path": "f", "Size": 5, "Last-Modified": "2026-11-02 01:00:00 GMT", "Checksum": "00"}
    later = file | {"Last-Modified": "2026-11-03 01:00:00 GMT"}
    manifest("old", {"System-Identifier": 7, "Files": [file]})
    manifest("deep/er/new", {"Files": [file, later]})
    manifest("broken", {"Files": "?"})
    manifest("a/b/c/d/too-deep", {"Files": [file]})
    found, broken = known_backups(tmp_path)
    assert [(one.folder, one.size_bytes, one.system_identifier) for one in found] == [
        ("deep/er/new", 10, None),
        ("old", 5, "7"),
    ]
    assert broken == ["broken: TypeError, no manifest that can be read"]
