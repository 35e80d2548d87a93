"""Starts runs by the clock. Every worker keeps it; a run's id is made of its time, so that it starts once."""

import hashlib
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import anyio
from croniter import croniter  # type: ignore[import-untyped]  # the package has no types

from quantum_suite.core.errors import CallerError, SuiteError
from quantum_suite.core.ids import new_id
from quantum_suite.services.workflows.dbos.engine import APPLICATION, FUNCTION
from quantum_suite.services.workflows.dbos.ledger import Ledger
from quantum_suite.services.workflows.dbos.rows import dump, load
from quantum_suite.services.workflows.interface import Owner, Schedule

if TYPE_CHECKING:
    from dbos._sys_db import WorkflowSchedule

Start = Callable[[Schedule, str], Awaitable[object]]
"""Starts a schedule's run under an id; one that was started already stays as it is."""

_log = logging.getLogger(__name__)


class Timetable:
    """The schedules of one database, and the clock they go by.

    What fell into a time when nobody worked is not made up for.
    """

    def __init__(self, ledger: Ledger, start: Start, *, poll_seconds: float) -> None:
        self._ledger = ledger
        self._start = start
        self._poll = poll_seconds
        self._changed = anyio.Event()

    async def save(self, schedule: Schedule) -> None:
        """Add or replace a schedule; raises CallerError for a cron expression that is none."""
        if not croniter.is_valid(schedule.cron, second_at_beginning=True):
            raise CallerError(
                f"'{schedule.cron}' is no schedule.",
                "Give five fields (minute, hour, day, month, weekday), or six with seconds first; UTC.",
                argument="cron",
            )
        stored: WorkflowSchedule = {
            "schedule_id": new_id("sch"),
            "schedule_name": schedule.name,
            "workflow_name": FUNCTION,
            "workflow_class_name": None,
            "schedule": schedule.cron,
            "status": "PAUSED" if schedule.paused else "ACTIVE",
            "context": _context(schedule),
            "last_fired_at": None,
            "automatic_backfill": False,
            "cron_timezone": None,
            "queue_name": None,
            "application_name": APPLICATION,
            "shard_key": None,
        }
        await self._ledger.call(self._ledger.engine.save_schedule, stored)
        self._changed.set()

    async def remove(self, name: str) -> None:
        """Remove a schedule, if it is there."""
        await self._ledger.call(self._ledger.engine.delete_schedule, name)
        self._changed.set()

    async def all(self) -> list[Schedule]:
        """Return the schedules there are, by name."""
        return sorted((schedule for schedule, _ in await self._stored()), key=lambda schedule: schedule.name)

    async def keep_time(self) -> None:
        """Start what is due, for ever."""
        since = datetime.now(UTC)
        while True:
            self._changed = anyio.Event()
            until = datetime.now(UTC)
            nearest = self._poll
            try:
                for schedule, salt in await self._stored():
                    if schedule.paused:
                        continue
                    due = _next(schedule.cron, since)
                    while due <= until:
                        await self._start(schedule, _run_id(salt, due))
                        due = _next(schedule.cron, due)
                    nearest = min(nearest, (due - datetime.now(UTC)).total_seconds())
                since = max(since, until)  # a clock that is set back starts nothing twice
            except SuiteError as error:
                _log.warning("schedules wait: %s", error)
            except Exception:
                _log.exception("a schedule could not be kept; it is tried again")
            with anyio.move_on_after(max(nearest, 0)):
                await self._changed.wait()

    async def _stored(self) -> list[tuple[Schedule, str]]:
        return [_schedule(stored) for stored in await self._ledger.call(self._ledger.engine.list_schedules)]


def _next(cron: str, after: datetime) -> datetime:
    due: datetime = croniter(cron, after, second_at_beginning=True).get_next(datetime)
    return due


def _run_id(salt: str, due: datetime) -> str:
    """Return an id that every worker finds, and nobody else can guess."""
    return f"run_{hashlib.sha256(f'{salt} {due.isoformat()}'.encode()).hexdigest()[:26]}"


def _context(schedule: Schedule) -> str:
    return dump(
        {
            "workflow": schedule.workflow,
            "arguments": schedule.arguments,
            "owner": asdict(schedule.owner),
            "salt": secrets.token_hex(16),
        }
    )


def _schedule(stored: "WorkflowSchedule") -> tuple[Schedule, str]:
    context = load(stored["context"], f"the schedule {stored['schedule_name']}")
    owner = context["owner"]
    workspaces = None if owner["workspaces"] is None else tuple(owner["workspaces"])
    return Schedule(
        name=stored["schedule_name"],
        cron=stored["schedule"],
        workflow=context["workflow"],
        arguments=context["arguments"],
        owner=Owner(owner["principal"], tuple(owner["roles"]), workspaces),
        paused=stored["status"] == "PAUSED",
    ), context["salt"]
