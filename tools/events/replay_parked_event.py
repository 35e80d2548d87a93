"""Has a parked event dealt with again, or leaves it."""

from typing import Literal

import anyio
from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.errors import NotFound
from quantum_suite.core.events import Position
from quantum_suite.core.principals import Principal
from quantum_suite.tools.events.access import EventAccess, require_admin

WAIT_SECONDS = 10.0
_LOOK_SECONDS = 0.1


class ReplayAnswer(BaseModel):
    """What became of it."""

    model_config = ConfigDict(frozen=True)

    consumer: str = Field(description="Whose event it is.")
    position: str = Field(description="The event's position.")
    outcome: Literal["dealt_with", "failed_again", "requested", "left"] = Field(
        description="requested: whoever runs the consumer has not come to it yet; list_parked_events shows when."
    )
    problem: str | None = Field(default=None, description="What went wrong again.")


async def replay_parked_event(
    access: EventAccess, principal: Principal, consumer: str, position: str, *, leave: bool = False
) -> ReplayAnswer:
    """Ask for a replay and wait a little for what becomes of it; with `leave`, take it off the list undone.

    Raises Refused for others than administrators, NotFound, and CallerError for a projection's event.
    """
    require_admin(principal, "Replaying parked events")
    place = Position(position)
    runner = access.projections
    before = await runner.find_parked(consumer, place)
    if leave:
        await runner.leave(consumer, place)
        return ReplayAnswer(consumer=consumer, position=position, outcome="left")
    await runner.request_replay(consumer, place, principal.id)
    with anyio.move_on_after(WAIT_SECONDS):
        while True:
            try:
                now = await runner.find_parked(consumer, place)
            except NotFound:
                return ReplayAnswer(consumer=consumer, position=position, outcome="dealt_with")
            if now.attempts > before.attempts:
                return ReplayAnswer(
                    consumer=consumer, position=position, outcome="failed_again", problem=now.problem
                )
            await anyio.sleep(_LOOK_SECONDS)
    return ReplayAnswer(consumer=consumer, position=position, outcome="requested")
