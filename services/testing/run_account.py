"""The account of a run, kept record by record as a runner's process tells it."""

import json
from collections.abc import Callable, Sequence
from typing import Any, cast, get_args

from quantum_suite.core.masking import mask_text
from quantum_suite.services.testing.interface import CaseOutcome, TestCase

MOST_CASES = 200_000
LONGEST_ID = 2_000
LONGEST_MESSAGE = 8_000


class RunAccount:
    """What is known of one process's tests so far. What it is told comes from foreign code: nothing is trusted to
    have the right form."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()
        self.version = ""
        self.python = ""
        self.coverage_problem: str | None = None
        self.missing: str | None = None
        """What is not installed for the interpreter."""
        self.not_found: tuple[str, ...] = ()
        self.collected: tuple[str, ...] | None = None
        self.cases: dict[str, TestCase] = {}
        self.running: TestCase | None = None
        """The test that was started and has not ended."""
        self.slow: str | None = None
        """Where the test stood that took too long."""
        self.problems: list[TestCase] = []
        self.status: int | None = None
        """The exit status the tests came to; None while they have not come to their end."""
        self.measured: list[Any] = []
        """What a JavaScript runner says of the files it measured."""
        self._takes: dict[str, Callable[[dict[str, Any]], TestCase | None]] = {
            "hello": self._hello,
            "missing": self._missing,
            "not_found": self._not_found,
            "collected": self._collected,
            "problem": self._problem,
            "start": self._start,
            "slow": self._slow,
            "end": self._end,
            "done": self._done,
            "coverage": self._measured,
        }

    def take(self, line: bytes) -> TestCase | None:
        """Take in a line of stdout; returns the test it ends, if it does."""
        _, found, text = line.partition(self._token)
        if not found:
            return None
        try:
            record = json.loads(text)
        except ValueError:
            return None
        if not isinstance(record, dict) or len(self.cases) > MOST_CASES:
            return None
        take = self._takes.get(str(record.get("kind")))
        return take(record) if take is not None else None

    def _hello(self, record: dict[str, Any]) -> None:
        self.version = _text(record.get("version"))
        self.python = _text(record.get("python"))
        self._note_coverage(record)

    def _missing(self, record: dict[str, Any]) -> None:
        self.missing = _text(record.get("what"))

    def _not_found(self, record: dict[str, Any]) -> None:
        self.not_found = _ids(record.get("ids"))

    def _collected(self, record: dict[str, Any]) -> None:
        self.collected = _ids(record.get("ids"))

    def _problem(self, record: dict[str, Any]) -> None:
        where = _text(record.get("id"))
        problem = TestCase(where, "error", message=_message(record), path=where.split("::")[0])
        self.problems.append(problem)

    def _start(self, record: dict[str, Any]) -> None:
        line = record.get("line")
        self.running = TestCase(
            _text(record.get("id")),
            "not_run",
            path=_text(record["path"]) if record.get("path") else None,
            line=line if isinstance(line, int) and line > 0 else None,
        )

    def _slow(self, record: dict[str, Any]) -> None:
        self.slow = _text(record.get("where"), LONGEST_MESSAGE)

    def _end(self, record: dict[str, Any]) -> TestCase:
        name, outcome = _text(record.get("id")), record.get("outcome")
        begun = self.running if self.running is not None and self.running.id == name else None
        seconds = record.get("seconds")
        case = TestCase(
            name,
            cast("CaseOutcome", outcome if outcome in get_args(CaseOutcome) else "error"),
            float(seconds) if isinstance(seconds, int | float) else 0.0,
            _message(record),
            begun.path if begun else name.split("::")[0],
            begun.line if begun else None,
        )
        self.cases[name] = case
        if begun is not None:
            self.running = None
        return case

    def _done(self, record: dict[str, Any]) -> None:
        status = record.get("status")
        self.status = status if isinstance(status, int) else 1
        self._note_coverage(record)

    def _measured(self, record: dict[str, Any]) -> None:
        files = record.get("files")
        self.measured = files if isinstance(files, list) else []

    def _note_coverage(self, record: dict[str, Any]) -> None:
        if record.get("coverage_problem"):
            self.coverage_problem = _text(record["coverage_problem"])


def _text(value: Any, longest: int = LONGEST_ID) -> str:
    # A lone surrogate could not be written to any report.
    return str(value)[:longest].encode("utf-8", "replace").decode()


def _message(record: dict[str, Any]) -> str:
    return mask_text(_text(record.get("message", ""), LONGEST_MESSAGE))


def _ids(value: Any) -> tuple[str, ...]:
    items: Sequence[Any] = value if isinstance(value, list) else ()
    return tuple(_text(item) for item in items[:MOST_CASES])
