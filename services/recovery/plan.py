"""Which way of recovery can reach the objectives, what is missing for it, and how long it took in drills."""

import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.services.recovery.facts import ServerFacts
from quantum_suite.services.recovery.interface import DrillKind, DrillReport, Objectives
from quantum_suite.services.recovery.known_backups import KnownBackup

Reach = Literal["yes", "after_changes", "not_drilled", "no"]


class Gap(BaseModel):
    """Something that is missing."""

    model_config = ConfigDict(frozen=True)

    what: str = Field(description="What is missing, and why it matters.")
    change: str = Field(description="What to set or do, exactly.")
    needs: Literal["reload", "restart", "work"] = Field(description="What the change costs.")
    required: bool = Field(description="Whether the objective cannot be reached without it.")


class Evidence(BaseModel):
    """What past drills showed."""

    model_config = ConfigDict(frozen=True)

    drills: int = Field(description="Drills that came to their end.")
    median_seconds: float = Field(description="Median recovery time.")
    worst_seconds: float = Field(description="Longest recovery time.")
    lost_rows: int = Field(description="Acknowledged rows lost in all of them together.")
    last: str = Field(description="The latest drill's id.")


class Strategy(BaseModel):
    """One way of recovery, judged."""

    model_config = ConfigDict(frozen=True)

    kind: DrillKind = Field(description="failover or point_in_time.")
    reach: Reach = Field(
        description="yes: set up, and drilled within the objectives. not_drilled: set up, recovery time unknown. "
        "after_changes: what is missing stands in gaps. no: cannot reach them by its nature, or drills missed "
        "them."
    )
    why: str = Field(description="The judgement in a sentence.")
    gaps: tuple[Gap, ...] = Field(description="What is missing.")
    evidence: Evidence | None = Field(description="What drills showed; none where it was not drilled yet.")
    steps: tuple[str, ...] = Field(description="The runbook.")


class RecoveryPlan(BaseModel):
    """How a server can be recovered within the objectives."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="The plan's id.")
    owner: str = Field(default="", description="Whose it is.")
    target: str = Field(description="The server, without credentials.")
    made: str = Field(description="When, ISO 8601, UTC.")
    objectives: Objectives = Field(description="What has to be reached.")
    facts: ServerFacts = Field(description="The server as it was looked at.")
    backups: tuple[KnownBackup, ...] = Field(description="Backups known, newest first.")
    warnings: tuple[str, ...] = Field(description="What else is worth a look.")
    strategies: tuple[Strategy, ...] = Field(description="Both ways, judged.")


def make_plan(
    plan: str,
    target: str,
    objectives: Objectives,
    facts: ServerFacts,
    backups: Sequence[KnownBackup],
    broken: Sequence[str],
    drills: dict[DrillKind, Sequence[DrillReport]],
) -> RecoveryPlan:
    """Judge both ways of recovery. Looks at nothing but what it is given."""
    ours = [one for one in backups if one.system_identifier in (None, facts.system_identifier)]
    warnings = [f"A manifest cannot be read: {line}." for line in broken]
    if facts.unseen:
        warnings.append(
            f"The role may not see {' and '.join(facts.unseen)}: GRANT pg_monitor TO it, and plan again."
        )
    if len(ours) < len(backups) and facts.system_identifier is not None:
        warnings.append(f"{len(backups) - len(ours)} of the backups are another server's.")
    if facts.in_recovery:
        warnings.append(
            "This server is itself a replica. Plan for its primary: settings and replicas are judged here."
        )
    warnings += [
        f"Slot {slot.name} is {'lost' if slot.wal_status == 'lost' else 'not in use'} and keeps "
        f"{slot.retained_bytes or 0} bytes of WAL: it can fill the disk."
        for slot in facts.slots
        if not slot.active
    ]
    for name in ("fsync", "full_page_writes"):
        if facts.settings.get(name) == "off":
            warnings.append(
                f"{name} is off: a crash of the machine can destroy the database. ALTER SYSTEM SET {name} = on."
            )
    return RecoveryPlan(
        id=plan,
        target=target,
        made=datetime.now(UTC).isoformat(),
        objectives=objectives,
        facts=facts,
        backups=tuple(backups),
        warnings=tuple(warnings),
        strategies=(
            _failover(objectives, facts, _evidence(drills["failover"]), target),
            _point_in_time(objectives, facts, ours, _evidence(drills["point_in_time"])),
        ),
    )


def _failover(objectives: Objectives, facts: ServerFacts, evidence: Evidence | None, target: str) -> Strategy:
    nothing_lost = objectives.rpo_rows == 0 or objectives.rpo_seconds == 0
    gaps = [
        *_wal_level(facts),
        *_at_least(facts, "max_wal_senders", 4, "a replica, its base backup and room to spare each take one"),
        *_at_least(facts, "max_replication_slots", 2, "a slot keeps the WAL that a replica has not got yet"),
    ]
    streaming = [one for one in facts.replicas if one.state == "streaming"]
    if not streaming:
        gaps.append(
            Gap(
                what="No replica is streaming.",
                change=f"On another machine: pg_basebackup -d '{target}' -D DATA_FOLDER -X stream -C -S "
                "standby1 -R "
                "-c fast; pg_verifybackup DATA_FOLDER; then start it.",
                needs="work",
                required=True,
            )
        )
    if nothing_lost:
        gaps += _synchronous(facts, streaming)
    elif objectives.rpo_seconds is not None:
        gaps += [
            Gap(
                what=f"Replica {one.name} is {one.lag_seconds:.1f} s behind; at most {objectives.rpo_seconds:g} "
                "s may be lost.",
                change="Find out what holds it up: its disk, the network, or a long query on it.",
                needs="work",
                required=True,
            )
            for one in streaming
            if (one.lag_seconds or 0) > objectives.rpo_seconds
        ]
    if facts.settings.get("wal_log_hints") == "off" and facts.settings.get("data_checksums") == "off":
        gaps.append(
            Gap(
                what="The old primary could not be rewound and would have to be copied anew.",
                change="ALTER SYSTEM SET wal_log_hints = on",
                needs="restart",
                required=False,
            )
        )
    reach, why = _reach(objectives, gaps, evidence)
    if not nothing_lost and reach in ("yes", "not_drilled") and objectives.rpo_rows is not None:
        why += " An asynchronous replica loses what was under way: how many rows, a drill counts."
    return Strategy(
        kind="failover", reach=reach, why=why, gaps=tuple(gaps), evidence=evidence, steps=_FAILOVER_STEPS
    )


def _synchronous(facts: ServerFacts, streaming: Sequence[object]) -> list[Gap]:
    gaps = []
    in_sync = [one for one in facts.replicas if one.sync_state in ("sync", "quorum")]
    if not facts.settings.get("synchronous_standby_names") or (streaming and not in_sync):
        gaps.append(
            Gap(
                what="No commit waits for a replica, and none may be lost.",
                change="ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (standby1, standby2)'; "
                "SELECT pg_reload_conf(). With one replica alone, writes stop when it is away.",
                needs="reload",
                required=True,
            )
        )
    if facts.settings.get("synchronous_commit") not in ("on", "remote_apply"):
        gaps.append(
            Gap(
                what=f"synchronous_commit is {facts.settings.get('synchronous_commit')}: an acknowledged commit "
                "can be "
                "missing on the replica's disk.",
                change="ALTER SYSTEM SET synchronous_commit = 'on'; SELECT pg_reload_conf()",
                needs="reload",
                required=True,
            )
        )
    return gaps


def _point_in_time(
    objectives: Objectives, facts: ServerFacts, backups: Sequence[KnownBackup], evidence: Evidence | None
) -> Strategy:
    gaps = _wal_level(facts)
    settings = facts.settings
    if settings.get("archive_mode") == "off":
        gaps.append(
            Gap(
                what="WAL is not archived.",
                change="ALTER SYSTEM SET archive_mode = on",
                needs="restart",
                required=True,
            )
        )
    if settings.get("archive_command") == "empty" and settings.get("archive_library") == "empty":
        gaps.append(
            Gap(
                what="Nothing stores the WAL that is to be archived.",
                change="Set archive_command to a command that encrypts %p, writes it to another machine under "
                "the name "
                "%f, never replaces a file, and ends with 0 only once it is durable (pgBackRest's archive-push "
                "does).",
                needs="reload",
                required=True,
            )
        )
    if facts.archive_failing:
        gaps.append(
            Gap(
                what=f"Archiving fails now ({facts.archive_failures} failures).",
                change="Read the server's log for what archive_command printed, and mend it: until then WAL "
                "piles up.",
                needs="work",
                required=True,
            )
        )
    gaps += _archive_timeout(objectives, facts)
    if not backups:
        gaps.append(
            Gap(
                what="No base backup of this server is known.",
                change="pg_basebackup -D - -F tar -X fetch -c fast --manifest-checksums=SHA256, piped into an "
                "encryption; daily, "
                "and name the folder of the manifests in `backups`.",
                needs="work",
                required=True,
            )
        )
    if objectives.rpo_rows == 0 or objectives.rpo_seconds == 0:
        reach: Reach = "no"
        why = (
            "An archive is behind by what is not in it yet: it cannot promise that nothing is lost. It undoes "
            "what a replica copies faithfully, a mistaken DELETE: have both."
        )
    else:
        reach, why = _reach(objectives, gaps, evidence)
    return Strategy(
        kind="point_in_time", reach=reach, why=why, gaps=tuple(gaps), evidence=evidence, steps=_RESTORE_STEPS
    )


def _archive_timeout(objectives: Objectives, facts: ServerFacts) -> list[Gap]:
    """Judge how long a row may wait for its segment to be archived: the recovery point of an archive."""
    if objectives.rpo_seconds is None or objectives.rpo_seconds == 0:
        return []
    now = int(facts.settings.get("archive_timeout", "0"))
    # Half: the segment has to be closed, and to be stored.
    wanted = max(1, int(objectives.rpo_seconds / 2))
    if 0 < now <= objectives.rpo_seconds:
        return []
    return [
        Gap(
            what=f"archive_timeout is {now or 'off'}: a quiet server may keep rows out of the archive for "
            "longer than "
            f"{objectives.rpo_seconds:g} s.",
            change=f"ALTER SYSTEM SET archive_timeout = '{wanted}s'; SELECT pg_reload_conf()",
            needs="reload",
            required=True,
        )
    ]


def _reach(objectives: Objectives, gaps: Sequence[Gap], evidence: Evidence | None) -> tuple[Reach, str]:
    required = [gap for gap in gaps if gap.required]
    wanted = objectives.rto_seconds
    late = evidence is not None and wanted is not None and evidence.worst_seconds > wanted
    if evidence is not None and late and evidence.median_seconds > (wanted or 0):
        return "no", f"Drills took {evidence.median_seconds:.2f} s in the median; {wanted:g} s are wanted."
    if required:
        return "after_changes", f"{len(required)} thing{'s are' if len(required) > 1 else ' is'} missing first."
    if evidence is None:
        return "not_drilled", "It is set up. How long it takes nobody knows before it is drilled: run_drill."
    if late:
        return "no", f"The worst drill took {evidence.worst_seconds:.2f} s; {wanted:g} s are wanted."
    return "yes", f"It is set up, and {evidence.drills} drills took at most {evidence.worst_seconds:.2f} s."


def _evidence(drills: Sequence[DrillReport]) -> Evidence | None:
    times = [drill.rto_seconds for drill in drills if drill.rto_seconds is not None]
    if not times:
        return None
    return Evidence(
        drills=len(times),
        median_seconds=round(statistics.median(times), 3),
        worst_seconds=round(max(times), 3),
        lost_rows=sum(drill.rows.lost for drill in drills if drill.rows is not None),
        last=drills[0].id,
    )


def _wal_level(facts: ServerFacts) -> list[Gap]:
    if facts.settings.get("wal_level") in ("replica", "logical"):
        return []
    return [
        Gap(
            what=f"wal_level is {facts.settings.get('wal_level')}: the log lacks what recovery needs.",
            change="ALTER SYSTEM SET wal_level = 'replica'",
            needs="restart",
            required=True,
        )
    ]


def _at_least(facts: ServerFacts, name: str, least: int, why: str) -> list[Gap]:
    now = int(facts.settings.get(name, "0"))
    if now >= least:
        return []
    return [
        Gap(
            what=f"{name} is {now}: {why}.",
            change=f"ALTER SYSTEM SET {name} = {least}",
            needs="restart",
            required=True,
        )
    ]


_FAILOVER_STEPS = (
    "Make sure that the primary is gone, from more than one place: a network that is cut looks the same.",
    (
        "Fence it: switch it off, or take its address and its disk away. Only then go on. Two primaries lose more "
        "than none."
    ),
    "On the replica that has received most: SELECT pg_last_wal_receive_lsn(), on each; take the highest.",
    "Promote it: SELECT pg_promote(true, 60); it is done when pg_is_in_recovery() is false.",
    "Send clients there: the virtual address, the proxy, or target_session_attrs=read-write with both hosts.",
    "Write a row, and read it back. That moment ends the recovery time.",
    "Have other replicas follow it, and name one in synchronous_standby_names again.",
    "Old primary: pg_rewind -D DATA_FOLDER --source-server='NEW_PRIMARY', touch standby.signal, set "
    "primary_conninfo, start. What only it had is lost by that: keep a copy of its pg_wal first.",
)
_RESTORE_STEPS = (
    "Decide the moment: recovery_target_time, _lsn or _name; none of them for the end of the archive.",
    "Keep the damaged server's folder, its pg_wal above all, until the restored one is accepted.",
    "Fetch and decrypt the newest base backup from before that moment into an empty folder.",
    "pg_verifybackup DATA_FOLDER: do not start what does not verify.",
    "Set restore_command and the target, recovery_target_action = 'pause'; touch recovery.signal; start.",
    (
        "Look at the data while it pauses; then SELECT pg_wal_replay_resume(), or choose another moment and begin "
        "again."
    ),
    "Write a row, and read it back; send clients there. That moment ends the recovery time.",
    "Take a new base backup at once: the restored server is on a timeline of its own.",
)
