"""The syntax gate: Python by the compiler of the project's version, other languages by their grammars."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import orjson

from quantum_suite.core.verdicts import GateReport, Isolation, Problem
from quantum_suite.services.knowledge.parsing.languages import SPECS, refined
from quantum_suite.services.knowledge.parsing.languages import language_of as indexed_language
from quantum_suite.services.sandbox.interface import SandboxRun
from quantum_suite.services.validators.interface import ChangedTree
from quantum_suite.services.validators.reporting import (
    Found,
    not_assessed,
    problem,
    report,
    shown_path,
    split_introduced,
)
from quantum_suite.services.validators.sandboxed import (
    MOST_FILE_BYTES,
    Bench,
    CheckFailed,
    encoded,
    failure_of,
    is_python,
)

GATE = "syntax"

_DATA = {".json": "json", ".toml": "toml"}
_MACRO_LANGUAGES = frozenset({"c", "cpp"})
"""Macros may make up syntax of their own there, so a grammar's doubts about a whole new file are advice."""
_JSON_WITH_COMMENTS = ("tsconfig", "jsconfig", "devcontainer", ".eslintrc", "settings", "launch", "tasks")


@dataclass(slots=True)
class _Asked:
    """One state of one file, and what was answered about it."""

    path: str
    language: str
    content: bytes
    answer: dict[str, Any] | None = None


@dataclass(slots=True)
class _Round:
    """The answers of one worker, over as many processes as its files cost."""

    asked: list[_Asked]
    isolation: Isolation = Isolation.NOT_NEEDED
    ended: list[str] = field(default_factory=list)


class SyntaxValidator:
    """Checks that every changed file can be read in its language."""

    gate = GATE

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    async def validate(self, tree: ChangedTree) -> GateReport:
        """Parse what changed; a file that ends or stalls the parser is named, and refused."""
        after = _states(tree, after=True)
        before = _states(tree, after=False)
        found: list[Problem] = [_too_large(one.path) for one in tree.change.files if _is_too_large(one.after)]
        unassessed: list[str] = []
        isolation = Isolation.NOT_NEEDED
        for worker, own in (("python_syntax", False), ("tree_syntax", True)):
            mine = [one for one in (*after, *before) if (one.language == "python") is (worker == "python_syntax")]
            if not mine:
                continue
            try:
                done = await self._ask(worker, mine, tree, own=own)
            except CheckFailed as error:
                return not_assessed(GATE, str(error), engine=worker)
            isolation = done.isolation
            unassessed += sorted({_missing(one) for one in mine if one.answer and one.answer.get("missing")})
            new = {id(one) for one in after}
            known = [found_one for one in mine if id(one) not in new for found_one in _found(one, before=True)]
            fresh = [found_one for one in mine if id(one) in new for found_one in _found(one, before=False)]
            found += _milder(split_introduced(fresh, known), tree)
        files = len(after)
        passed = f"{files} changed file{'s' if files != 1 else ''} can be read." if files else _NOTHING
        return report(GATE, found, passed=passed, isolation=isolation, unassessed=unassessed)

    async def _ask(self, worker: str, files: Sequence[_Asked], tree: ChangedTree, *, own: bool) -> _Round:
        """Have every file looked at. A file that ends its process costs that process alone."""
        done = _Round(list(files))
        waiting = deque(enumerate(files))
        while waiting:
            request = b"\n".join(orjson.dumps(_request(index, one)) for index, one in waiting)
            run = await self._bench.ask(worker, request, tree, own=own)
            done.isolation = run.isolation
            begun = _read(run, done.asked)
            waiting = deque((index, one) for index, one in waiting if one.answer is None)
            if not waiting:
                break
            if begun is None:
                raise CheckFailed(f"The parser gave no answer. {failure_of(run)}")
            how = "took too long over it" if run.ended_by == "timeout" else "was ended by it"
            done.asked[begun].answer = {"errors": [{"message": f"the parser {how}", "line": 1}], "fatal": True}
            waiting = deque((index, one) for index, one in waiting if one.answer is None)
        return done


_NOTHING = "No changed file is in a language whose syntax is checked."


def _states(tree: ChangedTree, *, after: bool) -> list[_Asked]:
    found = []
    for one in tree.change.files:
        content = one.after if after else one.before
        language = language_of(one.path)
        if content is not None and language is not None and not _is_too_large(content):
            found.append(_Asked(one.path, refined(language, one.path, content), content))
    return found


def language_of(path: str) -> str | None:
    """Return the language of a path, or None where none is checked."""
    if is_python(path):
        return "python"
    name = PurePosixPath(path)
    language = _DATA.get(name.suffix.lower()) or indexed_language(path)
    # Editors and compilers read comments in these.
    if language == "json" and name.name.startswith(_JSON_WITH_COMMENTS):
        return None
    return language if language in SPECS or language in _DATA.values() else None


def _is_too_large(content: bytes | None) -> bool:
    return content is not None and len(content) > MOST_FILE_BYTES


def _request(index: int, one: _Asked) -> dict[str, Any]:
    spec = SPECS.get(one.language)
    grammar = [spec.module, spec.function] if spec is not None else None
    return {
        "id": index,
        "path": shown_path(one.path),
        "language": one.language,
        "grammar": grammar,
        "content": encoded(one.content),
    }


def _too_large(path: str) -> Problem:
    message = f"the file is larger than the {MOST_FILE_BYTES} bytes up to which files are checked"
    # Data may be large; source that no check reads is refused.
    return problem(Found(path, "too-large", message, blocking=language_of(path) is not None))


def _read(run: SandboxRun, files: Sequence[_Asked]) -> int | None:
    """Take in what a worker answered; returns the file it had begun and not finished."""
    begun: int | None = None
    for line in run.stdout.splitlines():
        try:
            answer = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if answer.get("begun"):
            begun = answer["id"]
        else:
            files[answer["id"]].answer = answer
            begun = None
    return begun


def _found(one: _Asked, *, before: bool) -> list[Found]:
    answer: Mapping[str, Any] = one.answer or {}
    if answer.get("fatal") and before:
        return []
    errors = [_one(one, error, "syntax-error", blocking=True) for error in answer.get("errors", ())]
    return errors + [_one(one, told, "syntax-warning", blocking=False) for told in answer.get("warnings", ())]


def _one(asked: _Asked, error: Mapping[str, Any], code: str, *, blocking: bool) -> Found:
    message = str(error["message"])
    where = "" if asked.language == "python" else f" ({asked.language})"
    end_line = error.get("end_line")
    return Found(
        path=asked.path,
        code=code,
        message=message + where,
        line=_positive(error.get("line")),
        column=_positive(error.get("column")),
        end_line=end_line if end_line and end_line > 0 else None,
        end_column=_positive(error.get("end_column")),
        blocking=blocking,
    )


def _positive(number: Any) -> int | None:
    return number if isinstance(number, int) and number >= 1 else None


def _milder(problems: Sequence[Problem], tree: ChangedTree) -> list[Problem]:
    """Return the problems, those advice that a grammar may be wrong about: whole new files full of macros."""
    new = {one.path for one in tree.change.files if one.before is None}
    return [
        one.model_copy(update={"blocking": False})
        if one.location is not None
        and one.location.path in new
        and language_of(one.location.path) in _MACRO_LANGUAGES
        else one
        for one in problems
    ]


def _missing(one: _Asked) -> str:
    package = (one.answer or {}).get("missing")
    return f"{one.language}: its grammar is not installed: pip install {package}"
