"""What a recovery drill is asked for, and what it finds."""

from collections.abc import Awaitable, Callable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

DrillKind = Literal["failover", "point_in_time"]
Point = Literal["name", "lsn", "time", "latest"]


class Objectives(BaseModel):
    """What recovery has to reach. Whatever is left out is measured and not judged."""

    model_config = ConfigDict(frozen=True)

    rto_seconds: float | None = Field(default=None, gt=0, description="From disaster to the first accepted write.")
    rpo_seconds: float | None = Field(default=None, ge=0, description="How far back lost rows may reach.")
    rpo_rows: int | None = Field(default=None, ge=0, description="How many acknowledged rows may be lost.")


class DrillRequest(BaseModel):
    """One drill."""

    model_config = ConfigDict(frozen=True)

    kind: DrillKind = Field(description="failover to a replica, or point_in_time restore of a backup.")
    objectives: Objectives = Field(default_factory=Objectives, description="What it is judged against.")
    synchronous: bool = Field(default=True, description="failover: whether a commit waits for the replica.")
    disaster: Literal["kill", "freeze"] = Field(
        default="kill", description="failover: the primary is killed (SIGKILL), or stands still (SIGSTOP)."
    )
    point: Point = Field(default="name", description="point_in_time: how the moment to restore to is named.")
    rows: int = Field(default=500, ge=20, le=1_000_000, description="Rows acknowledged before the disaster.")
    writers: int = Field(default=4, ge=1, le=32, description="Connections that write at the same time.")
    probe_seconds: float = Field(default=0.1, gt=0, le=60, description="Pause between looks at the primary.")
    probe_failures: int = Field(default=3, ge=1, le=100, description="Failed looks in a row that mean it is gone.")
    timeout_seconds: float = Field(default=600.0, gt=0, le=86_400, description="When the drill is given up.")
    source: str | None = Field(default=None, description="A live system whose copy is drilled with; no password.")


class Phase(BaseModel):
    """A part of the recovery time."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="detect, fence, promote, first_write; or fetch, verify, replay, open.")
    seconds: float = Field(description="How long it took.")


class Moment(BaseModel):
    """Something that happened in a drill."""

    model_config = ConfigDict(frozen=True)

    at: float = Field(description="Seconds since the drill began.")
    what: str = Field(description="What happened.")


class RowCount(BaseModel):
    """Every row accounted for."""

    model_config = ConfigDict(frozen=True)

    acknowledged: int = Field(description="Rows whose commit was acknowledged and that must be there.")
    present: int = Field(description="Of these, the rows that are there, content as written.")
    lost: int = Field(description="Of these, the rows that are missing: the recovery point, counted.")
    altered: int = Field(description="Rows whose content is not what was written.")
    in_doubt: int = Field(description="Rows sent whose commit was never acknowledged, or was about to be.")
    in_doubt_present: int = Field(description="Of those, the rows that are there all the same.")
    unexpected: int = Field(description="Rows that nobody sent, or that were sent after the point restored to.")
    after: int = Field(description="Rows acknowledged after recovery; all of them must be there too.")
    after_lost: int = Field(description="Of those, the rows that are missing.")
    lost_seconds: float = Field(description="How long before the disaster the oldest lost row was acknowledged.")
    lost_rows: tuple[str, ...] = Field(default=(), description="The first lost rows, as writer/number.")

    @property
    def accounted(self) -> bool:
        """Whether each row is explained: present, or counted as lost; none altered or out of nowhere."""
        whole = self.acknowledged == self.present + self.lost
        return whole and not (self.altered or self.unexpected or self.after_lost)


class Verdict(BaseModel):
    """One objective, judged."""

    model_config = ConfigDict(frozen=True)

    objective: Literal["rto_seconds", "rpo_seconds", "rpo_rows", "rows_accounted_for"] = Field(
        description="What was asked for. That every row is accounted for is asked of each drill."
    )
    wanted: float = Field(description="What was wanted at most.")
    measured: float = Field(description="What was measured.")
    met: bool = Field(description="Whether it was reached.")
    by: float = Field(description="How far below the objective (or above, when missed).")


class DrillReport(BaseModel):
    """What a drill found. Evidence: kept as it is, with the digest of its JSON."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="The drill's id.")
    owner: str = Field(default="", description="Who ran it.")
    request: DrillRequest = Field(description="What was asked for.")
    state: Literal["met", "missed", "measured", "failed", "cancelled"] = Field(
        description="The verdict in a word."
    )
    began: str = Field(description="When it began, ISO 8601, UTC.")
    seconds: float = Field(description="How long the whole drill took.")
    phases: tuple[Phase, ...] = Field(default=(), description="The recovery time, phase by phase.")
    rto_seconds: float | None = Field(default=None, description="Their sum: disaster to first accepted write.")
    rows: RowCount | None = Field(default=None, description="The recovery point, row by row.")
    verdicts: tuple[Verdict, ...] = Field(default=(), description="Each objective, judged.")
    timeline: tuple[Moment, ...] = Field(default=(), description="What happened when.")
    facts: dict[str, str] = Field(default_factory=dict, description="Versions, sizes, digests, what was verified.")
    logs: dict[str, tuple[str, ...]] = Field(default_factory=dict, description="The servers' last lines, masked.")
    problem: str = Field(default="", description="Why the drill did not come to its end.")


DrillProgress = Callable[[float, float | None, str], Awaitable[None]]
"""Told how far a drill is: steps done, steps in total, and what is going on."""


def judge(
    objectives: Objectives, rto_seconds: float, rows: RowCount
) -> tuple[Literal["met", "missed", "measured"], tuple[Verdict, ...]]:
    """Hold what was measured against the objectives. Rows that nobody can explain miss any objective."""
    against = (
        ("rto_seconds", objectives.rto_seconds, rto_seconds),
        ("rpo_seconds", objectives.rpo_seconds, rows.lost_seconds),
        ("rpo_rows", objectives.rpo_rows, float(rows.lost)),
    )
    verdicts = [
        Verdict.model_validate(
            {
                "objective": name,
                "wanted": wanted,
                "measured": round(measured, 6),
                "met": measured <= wanted,
                "by": round(abs(wanted - measured), 6),
            }
        )
        for name, wanted, measured in against
        if wanted is not None
    ]
    unexplained = rows.altered + rows.unexpected + rows.after_lost
    judged = bool(verdicts) or unexplained > 0
    verdicts.append(
        Verdict(
            objective="rows_accounted_for",
            wanted=0,
            measured=unexplained,
            met=rows.accounted,
            by=unexplained,
        )
    )
    if not judged:
        return "measured", tuple(verdicts)
    return ("met" if all(verdict.met for verdict in verdicts) else "missed"), tuple(verdicts)
