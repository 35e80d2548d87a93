"""Lists what projections and consumers could not deal with, and how they are doing."""

from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.principals import Principal
from quantum_suite.services.projections.interface import ParkedEvent
from quantum_suite.services.projections.status import ProjectionStatus, State
from quantum_suite.services.projections.subjects import Kind
from quantum_suite.tools.events.access import EventAccess, require_admin


class FollowerRow(BaseModel):
    """A projection or consumer."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="Its name.")
    kind: Kind = Field(description="projection (can be rebuilt) or consumer (can replay parked events).")
    state: State = Field(description="standby: another process runs it. retrying, slowed: it is in trouble.")
    lag_events: int | None = Field(description="Events still to go; absent where another process runs it.")
    lag_seconds: float | None = Field(description="Age of the oldest of them.")
    problem: str | None = Field(description="What it ran into last, while that lasts.")


class ParkedRow(BaseModel):
    """An event put aside."""

    model_config = ConfigDict(frozen=True)

    consumer: str = Field(description="Who could not deal with it.")
    position: str = Field(description="Pass it to replay_parked_event.")
    event_id: str = Field(description="The event's id.")
    event_type: str = Field(description="What happened.")
    stream: str = Field(description="To what.")
    problem: str = Field(description="What went wrong, the last time.")
    attempts: int = Field(description="How often it was tried.")
    parked_at: str = Field(description="Since when, UTC.")


class ParkedList(BaseModel):
    """What is in the way of whom."""

    model_config = ConfigDict(frozen=True)

    followers: tuple[FollowerRow, ...] = Field(description="Projections and consumers, as this process sees them.")
    parked: tuple[ParkedRow, ...] = Field(description="Parked events, oldest first.")


async def list_parked_events(
    access: EventAccess, principal: Principal, consumer: str | None, limit: int
) -> ParkedList:
    """Return what is parked; raises Refused for others than administrators, and NotFound for an unknown name."""
    require_admin(principal, "Looking at parked events")
    parked = await access.projections.parked(consumer, limit=limit)
    return ParkedList(
        followers=tuple(
            _follower(status) for status in access.projections.statuses() if consumer in (None, status.name)
        ),
        parked=tuple(parked_row(one) for one in parked),
    )


def parked_row(parked: ParkedEvent) -> ParkedRow:
    """Return a parked event as it is shown."""
    return ParkedRow(
        consumer=parked.consumer,
        position=parked.position,
        event_id=parked.event_id,
        event_type=parked.event_type,
        stream=parked.stream,
        problem=parked.problem,
        attempts=parked.attempts,
        parked_at=parked.parked_at.isoformat(timespec="seconds"),
    )


def _follower(status: ProjectionStatus) -> FollowerRow:
    return FollowerRow(
        name=status.name,
        kind=status.kind,
        state=status.state,
        lag_events=status.lag_events,
        lag_seconds=status.lag_seconds,
        problem=status.problem,
    )
