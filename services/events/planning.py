"""What becomes of an append, decided while nobody else can write to its stream.

Shared by the adapters: they bring in the streams' states and write what was decided.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from quantum_suite.core.errors import Conflict, SuiteError
from quantum_suite.core.events import Fence
from quantum_suite.services.events.encoding import Draft
from quantum_suite.services.events.interface import ANY_VERSION
from quantum_suite.services.events.sealing import Seal


@dataclass(slots=True, eq=False)
class Request:
    """An append that waits for its turn."""

    stream: str
    expected_version: int
    drafts: list[Draft]
    seal: Seal
    fence: Fence | None


@dataclass(slots=True)
class StreamState:
    """Where a stream stands within a transaction."""

    number: int
    version: int = 0
    last_id: str | None = None
    transaction: int = 0
    """That of its last event, where transactions order the log."""
    touched: bool = False
    """Whether the transaction itself has written to it: what lies there cannot be looked up yet."""


@dataclass(frozen=True, slots=True)
class Written:
    """The events were stored: first version, and the first one's number in the log."""

    version: int
    sequence: int
    transaction: int = 0


@dataclass(frozen=True, slots=True)
class Repeated:
    """The events were there already, from this version on."""

    version: int


Outcome = Written | Repeated | SuiteError


class Verdict(Enum):
    """What to do with an append."""

    WRITE = "write"
    LATER = "later"
    """It may repeat what this transaction writes: have it wait for the next one, which can look."""


@dataclass(frozen=True, slots=True)
class Compare:
    """It may repeat what is stored: compare the ids from this version on."""

    version: int


def decide(request: Request, state: StreamState) -> Literal[Verdict.WRITE, Verdict.LATER] | Compare | Conflict:
    """Decide about one append, given where its stream stands now."""
    drafts, expected = request.drafts, request.expected_version
    if expected == ANY_VERSION:
        if state.last_id != drafts[-1].id or state.version < len(drafts):
            return Verdict.WRITE
        expected = state.version - len(drafts)
    elif expected == state.version:
        return Verdict.WRITE
    if state.version < expected + len(drafts):
        return conflict(request, state)
    return Verdict.LATER if state.touched else Compare(expected + 1)


def compared(
    request: Request, state: StreamState, version: int, ids: Sequence[str]
) -> Repeated | Verdict | Conflict:
    """Decide about an append that was looked up: `ids` are those stored from `version` on."""
    if list(ids) == [draft.id for draft in request.drafts]:
        return Repeated(version)
    return Verdict.WRITE if request.expected_version == ANY_VERSION else conflict(request, state)


def place(request: Request, state: StreamState) -> int:
    """Take the stream's next versions for an append; returns the first."""
    first = state.version + 1
    state.version += len(request.drafts)
    state.last_id = request.drafts[-1].id
    state.touched = True
    return first


def conflict(request: Request, state: StreamState) -> Conflict:
    """Return the error for a stream that is not where the caller thinks."""
    return Conflict(
        f"{request.stream} is at version {state.version}, not {request.expected_version}.",
        "Read what was appended meanwhile, and decide again.",
        argument="expected_version",
    )


def copied(error: Exception) -> Exception:
    """Return an error of one's own for each of many who get it: raised, each gathers a traceback of its own."""
    if not isinstance(error, SuiteError) or type(error).__init__ is not SuiteError.__init__:
        return error
    copy = type(error)(error.message, error.hint)
    copy.__cause__ = error.__cause__
    return copy
