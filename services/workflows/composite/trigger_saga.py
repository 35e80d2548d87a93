"""The saga that every definition with triggers is: when a run starts, and when it waits its turn. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from quantum_suite.core.events import Event, EventFilter
from quantum_suite.services.sagas.interface import Decision, Happened, RunEnded, StartWorkflow, Trigger
from quantum_suite.services.workflows.interface import Json, Owner


@dataclass(slots=True)
class TriggerSaga:
    """Starts what one event of one definition starts.

    Without a key the instance is the event's: it starts its run and ends. With one it is the key's and goes on for
    ever: while a run is under way the newest event waits, and starts when the run has ended, however it did.
    """

    name: str
    slot: str
    start: StartWorkflow | None = None
    """None for the end of a run."""
    shared: bool = False
    where: EventFilter = field(default_factory=EventFilter)

    def key(self, event: Event) -> str | None:
        return self.slot

    def react(self, state: Mapping[str, Json] | None, trigger: Trigger) -> Decision | None:
        if isinstance(trigger, RunEnded):
            return _turn(state or {}, trigger.step)
        if not isinstance(trigger, Happened) or self.start is None:
            return None
        if not self.shared:
            return Decision({"running": self.start.step}, (self.start,), outcome="completed")
        if state is not None and state["running"] is not None:
            return Decision({**state, "waiting": asdict(self.start)})
        return _running(self.start)


def _turn(state: Mapping[str, Json], ended: str) -> Decision:
    if ended != state.get("running"):
        return Decision(state, forget=(ended,))
    waiting = state.get("waiting")
    if waiting is None:
        return Decision({"running": None, "waiting": None}, forget=(ended,))
    return _running(_start(waiting), forget=(ended,))


def _running(start: StartWorkflow, forget: tuple[str, ...] = ()) -> Decision:
    return Decision({"running": start.step, "waiting": None}, (start,), forget=forget)


def _start(kept: Mapping[str, Any]) -> StartWorkflow:
    owner = kept["owner"]
    workspaces = owner["workspaces"]
    return StartWorkflow(
        kept["step"],
        kept["workflow"],
        kept["arguments"],
        Owner(owner["principal"], tuple(owner["roles"]), None if workspaces is None else tuple(workspaces)),
    )
