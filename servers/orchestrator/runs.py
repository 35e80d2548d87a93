"""Runs as their callers may see and steer them."""

import difflib
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

from quantum_suite.core.errors import CallerError, Conflict, NotFound, Refused
from quantum_suite.core.ids import new_id
from quantum_suite.core.principals import Principal, Role
from quantum_suite.servers.orchestrator.callers import owner_of
from quantum_suite.services.workflows.approvers import may_approve
from quantum_suite.services.workflows.composite.composites import Composites, Start
from quantum_suite.services.workflows.composite.matching import origin_of
from quantum_suite.services.workflows.interface import (
    APPROVAL_STATUS,
    FINAL,
    Json,
    Owner,
    Run,
    RunQuery,
    RunState,
    Schedule,
    StepRecord,
    Verdict,
    Workflows,
)

Action = Literal["cancel", "pause", "resume", "fork"]
HUBS_OWN = "hub."
"""How workflows of the hub itself are named: their runs are shown by other means (MCP tasks)."""

Progress = Callable[[float, float | None, str | None], Awaitable[None]]

_LOOK_SECONDS = 1.0
"""How often a run that is followed is looked at; its end is told at once."""
_SCANNED = 500
"""Runs looked through for those that wait for one's approval."""


class Runs:
    """Every method raises NotFound for a run that is not there, or that is none of the caller's business."""

    def __init__(self, open_workflows: Callable[[], Awaitable[Workflows]], composites: Composites) -> None:
        self._open = open_workflows
        self._composites = composites

    async def start(
        self,
        name: str,
        inputs: Mapping[str, Json],
        principal: Principal,
        *,
        version: int | None = None,
        key: str | None = None,
        cause: str | None = None,
    ) -> Run:
        """Start a definition; with `key`, starting it again returns the run there is. `cause` is the run that asks
        for it: what an event led to is known by its id."""
        owner = owner_of(principal)
        start = await self._begin(name, inputs, owner, version)
        run_id = None
        if key is not None:
            run_id = f"run_{hashlib.sha256(f'{principal.id} {key}'.encode()).hexdigest()[:26]}"
            origin = origin_of(cause)
            run_id = run_id if origin is None else f"{origin.run}.{run_id}"
        return await (await self._open()).start(start.workflow, start.arguments, owner, run_id=run_id)

    async def schedule(
        self, name: str, inputs: Mapping[str, Json], cron: str, principal: Principal, *, version: int | None = None
    ) -> Schedule:
        """Have a definition started by the clock."""
        owner = owner_of(principal)
        start = await self._begin(name, inputs, owner, version)
        schedule = Schedule(new_id("sch"), cron, start.workflow, start.arguments, owner)
        await (await self._open()).schedule(schedule)
        return schedule

    async def _begin(self, name: str, inputs: Mapping[str, Json], owner: Owner, version: int | None) -> Start:
        """Return what starts a definition; NotFound names the argument of the call that is wrong."""
        try:
            return await self._composites.start(name, inputs, owner, version)
        except NotFound as error:
            if error.argument != "definition":
                raise
            names = [one.name for one in await self._composites.known(owner)]
            if name in names:
                raise NotFound(error.message, "Leave it out for the newest.", argument="version") from error
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"Did you mean '{near[0]}'?" if near else "List the workflows."
            raise NotFound(f"There is no workflow '{name}'.", hint, argument="workflow") from error

    async def unschedule(self, name: str, principal: Principal) -> Schedule:
        """Remove a schedule."""
        for schedule in await self.schedules(principal):
            if schedule.name == name:
                await (await self._open()).unschedule(name)
                return schedule
        raise NotFound(f"There is no schedule '{name}'.", "List the schedules.", argument="run")

    async def schedules(self, principal: Principal) -> list[Schedule]:
        """Return the caller's schedules; all of them to an admin."""
        found = await (await self._open()).schedules()
        return [one for one in found if _is_admin(principal) or one.owner.principal == principal.id]

    async def get(self, run_id: str, principal: Principal) -> Run:
        """Return a run: the caller's own, any to an admin, and one that waits for the caller's approval."""
        run = await (await self._open()).get(run_id)
        if run.workflow.startswith(HUBS_OWN) or not (_owns(principal, run) or waits_for(run, principal)):
            raise NotFound(f"There is no run {run_id}.", "List the runs.", argument="run")
        return run

    async def steps(self, run_id: str, principal: Principal) -> tuple[Run, list[StepRecord]]:
        """Return a run and its steps."""
        run = await self.get(run_id, principal)
        return run, await (await self._open()).steps(run_id)

    async def wait(self, run_id: str, principal: Principal, seconds: float) -> Run:
        """Return a run when it is final, or as it stands after some seconds."""
        run = await self.get(run_id, principal)
        return await (await self._open()).wait(run_id, seconds) if seconds else run

    async def followed(self, run_id: str, principal: Principal, progress: Progress) -> Run:
        """Return a run when it is final, or asks people something; tells how many steps are done meanwhile."""
        workflows = await self._open()
        told = -1
        while True:
            run = await self.wait(run_id, principal, _LOOK_SECONDS)
            if run.state in FINAL or run.status.get(APPROVAL_STATUS):
                return run
            done = sum(step.state == "completed" for step in await workflows.steps(run_id))
            if done > told:
                told = done
                await progress(done, None, f"{done} steps done" if done != 1 else "1 step done")

    async def find(
        self, principal: Principal, *, state: RunState | None, limit: int, cursor: str | None
    ) -> tuple[list[Run], str | None]:
        """Return the caller's runs, newest first; everybody's to an admin."""
        workflows = await self._open()
        owner = None if _is_admin(principal) else principal.id
        found: list[Run] = []
        while True:
            query = RunQuery(owner=owner, state=state, limit=limit - len(found), cursor=cursor)
            page, cursor = await workflows.find(query)
            found += [run for run in page if not run.workflow.startswith(HUBS_OWN)]
            if cursor is None or len(found) >= limit:
                return found, cursor

    async def waiting_for(self, principal: Principal) -> list[Run]:
        """Return the runs that wait for an approval the caller may give, newest first."""
        workflows = await self._open()
        found: list[Run] = []
        cursor: str | None = None
        for _ in range(_SCANNED // 50):
            page, cursor = await workflows.find(RunQuery(state="waiting", limit=50, cursor=cursor))
            found += [run for run in page if waits_for(run, principal)]
            if cursor is None:
                break
        return found

    async def control(self, run_id: str, action: Action, principal: Principal, from_step: int | None) -> Run:
        """Cancel, pause, resume or fork a run of the caller's own, or any as an admin."""
        run = await self.get(run_id, principal)
        if not _owns(principal, run):
            raise Refused(f"Run {run_id} belongs to somebody else.", "Its owner or an admin may do that.")
        if (from_step is not None) is not (action == "fork"):
            raise CallerError(
                "from_step goes with fork, and fork needs it.", "Steps count from 1.", argument="from_step"
            )
        workflows = await self._open()
        match action:
            case "cancel":
                return await workflows.cancel(run_id)
            case "pause":
                return await workflows.pause(run_id)
            case "resume":
                return await workflows.resume(run_id)
            case "fork":
                return await workflows.fork(run_id, from_step or 1, owner_of(principal))

    async def approve(
        self, run_id: str, question: str, principal: Principal, *, approved: bool, reason: str | None
    ) -> Run:
        """Answer what a run asks. `question` must be what it asks now: nobody answers what they have not read.

        Raises Refused for somebody whom the approval does not name, Conflict when the run asks something else.
        """
        run = await self.get(run_id, principal)
        asked = run.status.get(APPROVAL_STATUS)
        if not asked:
            raise Conflict(f"Run {run_id} waits for no approval.", "Look at its status.", argument="run")
        if not waits_for(run, principal):
            named = ", ".join(asked["approvers"])
            raise Refused(f"{principal.id} may not answer this.", f"It is for {named}.")
        if asked["question"] != question:
            raise Conflict(
                f"Run {run_id} asks something else now: {asked['question']}",
                "Put that to the person, then answer it.",
                argument="question",
            )
        verdict = Verdict(approved, principal.id, reason)
        return await (await self._open()).approve(run_id, verdict)


def waits_for(run: Run, principal: Principal) -> bool:
    """Whether a run waits for an approval that the principal may give."""
    asked = run.status.get(APPROVAL_STATUS)
    if not asked or run.workflow.startswith(HUBS_OWN):
        return False
    return may_approve(asked["approvers"], principal.id, principal.roles, run.owner.principal)


def _owns(principal: Principal, run: Run) -> bool:
    return _is_admin(principal) or run.owner.principal == principal.id


def _is_admin(principal: Principal) -> bool:
    return Role.ADMIN in principal.roles
