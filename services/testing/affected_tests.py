"""Decides which tests a change concerns, from two states of a project. Errs on the side of more.

- The body of a function changed: the tests that reached it. If it also ran outside tests (at import, or to fill a
  cache), every test that imports its file.
- What a name is bound to changed (a header, a class, an assignment, an import): the tests that reached code which
  mentions the name, in the file or in one that imports it; names defined by it in turn are taken as changed too.
- Anything else that runs at import changed, or may fail there (a call, an import, a name that is gone): every test
  that imports the file.
- A file that is no Python: the tests that opened it. Settings, compiled code, and what only the collection read:
  every test. Texts that nobody opened: none.
- Tests that started further processes: any change of code concerns them, since nobody saw what those reached.
- Tests that did not pass last time, that were to run and did not, and new ones: always.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from quantum_suite.services.testing.code_blocks import EVERYTHING, Body, FileCode
from quantum_suite.services.testing.import_graph import ImportGraph
from quantum_suite.services.testing.interface import OUTSIDE_TESTS, Affected
from quantum_suite.services.testing.known_project import KnownFile, KnownProject, file_of, still_there

_TEXTS = {".md", ".rst", ".txt", ".adoc", ".png", ".svg", ".jpg", ".gif", ".css", ".html", ".pdf", ".ipynb"}
_TEXT_NAMES = {"LICENSE", "AUTHORS", "CHANGELOG", "NOTICE", "MANIFEST.in", "Makefile", ".gitignore"}
_SETUP = {"setup.py", "noxfile.py"}
_TEST_FILE = re.compile(r"(?:^|/)(?:test[^/]*|[^/]*_test)\.py$")
_TEST_NAME = re.compile(r"^(?:[Tt]est|.*Test(?:s|Case)?$)")
_MOST_CLOSING = 50


def decide(known: KnownProject, now: KnownProject, changed: Mapping[str, frozenset[int] | None]) -> Affected:
    """Return the tests concerned by `changed`, given as lines of the known version (None: what differs now)."""
    return _Decision(known, now).take(changed)


class _Decision:
    def __init__(self, known: KnownProject, now: KnownProject) -> None:
        self._known = known
        self._now = now
        self._graph = ImportGraph({path: file.code for path, file in {**known.files, **now.files}.items()})
        self._reasons: dict[str, str] = {}
        self._everything: list[str] = []

    def take(self, changed: Mapping[str, frozenset[int] | None]) -> Affected:
        if not self._known.tests:
            return Affected((), True, {}, "Nothing is known yet: run the tests once with the map being kept.")
        code_changed = False
        for path, lines in sorted(changed.items()):
            if path.endswith(".py"):
                code_changed |= self._python(path, lines)
            else:
                self._other(path)
        if code_changed:
            for test in self._known.far:
                self._add([test], "it starts further processes, and nobody saw what those reach")
        for test, state in self._known.tests.items():
            if not state.settled:
                self._add([test], state.stale or f"last time it was {state.outcome}")
        return self._answer()

    def _answer(self) -> Affected:
        if self._everything:
            why = self._everything[0]
            every = tuple(test for test in self._known.tests if self._there(test))
            return Affected(
                every,
                True,
                {test: self._reasons.get(test, why) for test in every},
                "; ".join(dict.fromkeys(self._everything)),
            )
        chosen = {test: why for test, why in self._reasons.items() if self._there(test)}
        known = sum(test in self._known.tests for test in chosen)
        return Affected(
            tuple(sorted(chosen)),
            False,
            chosen,
            f"{known} of {len(self._known.tests)} known tests and {len(chosen) - known} new ones are concerned.",
        )

    def _there(self, test: str) -> bool:
        file = self._now.files.get(file_of(test))
        return file is not None and ("::" not in test or still_there(test, file.code))

    def _add(self, tests: Iterable[str], why: str) -> None:
        for test in tests:
            if test != OUTSIDE_TESTS:
                self._reasons.setdefault(test, why)

    # -- Python --------------------------------------------------------------------------------------------------

    def _python(self, path: str, lines: frozenset[int] | None) -> bool:
        """Take in a changed Python file; returns whether anything of its code is changed at all."""
        known, now = self._known.files.get(path), self._now.files.get(path)
        if PurePosixPath(path).name in _SETUP:
            self._everything.append(f"{path} says how the project is built")
            return True
        if known is None:
            self._added(path)
            return True
        if now is None:
            self._importers(path, f"{path} is gone")
            self._reaching(known, range(1, max(known.reach, default=0) + 1), f"{path} is gone")
            return True
        touched = self._lines(path, known, lines) if lines is not None else False
        if known.digest == now.digest:
            return touched
        return self._compared(path, known, now) or touched

    def _added(self, path: str) -> None:
        name = PurePosixPath(path).name
        if name in ("conftest.py", "__init__.py"):
            self._below(path, f"{path} is new")
        if _TEST_FILE.search(path) and path in self._now.files:
            self._add([path], f"{path} is new")
        self._importers(path, f"{path} is new, and may be what is imported now")

    def _lines(self, path: str, known: KnownFile, lines: frozenset[int]) -> bool:
        """Take in lines that are going to be changed."""
        left = set(lines)
        for body in known.code.bodies.values():
            within = left & set(range(body.first, body.last + 1))
            if within:
                left -= within
                self._body(path, known, body, f"{path}:{min(within)} in {body.name} changes")
        for line in left & known.reach.keys():
            self._importers(path, f"{path}:{line} runs at import")
        return bool(lines)

    def _compared(self, path: str, known: KnownFile, now: KnownFile) -> bool:
        old, new = known.code, now.code
        if not old.readable or not new.readable or old.rest != new.rest:
            self._importers(path, f"code of {path} that runs at import changed")
            self._new_tests(path, old, new)
        changed_bodies = [
            body
            for name, body in old.bodies.items()
            if name in new.bodies and new.bodies[name].digest != body.digest
        ]
        for body in changed_bodies:
            self._body(path, known, body, f"{body.name} in {path} changed")
        names = {
            name
            for name in old.definitions.keys() | new.definitions.keys()
            if old.definitions.get(name) != new.definitions.get(name)
        }
        if names:
            self._definitions(path, names)
            self._may_break(path, old, new, names)
            self._new_tests(path, old, new)
        return bool(names or changed_bodies or old.rest != new.rest or not new.readable)

    def _may_break(self, path: str, old: FileCode, new: FileCode, names: set[str]) -> None:
        """Take in that a file, or one that uses it at import, may fail to be imported at all."""
        for name in sorted(names):
            if name in new.definitions and not new.definitions[name].safe:
                self._importers(path, f"{name} in {path} changed, and is computed at import")
        gone = {name for name in names - new.definitions.keys() if "." not in name}
        if not gone:
            return
        for file in self._graph.importers([path]):
            for code in self._versions(file):
                if any(not gone.isdisjoint(definition.names) for definition in code.definitions.values()):
                    self._importers(file, f"{', '.join(sorted(gone)[:3])} in {path} is gone, which {file} names")

    def _body(self, path: str, known: KnownFile, body: Body, why: str) -> None:
        lines = range(body.first, body.last + 1)
        reached = self._reaching(known, lines, why)
        if OUTSIDE_TESTS in reached:
            self._importers(path, f"{why}; it also runs outside tests")
        if not reached and body.name in known.code.definitions:
            # A body without a line that runs (a docstring alone) shows in its name at most.
            self._definitions(path, {body.name})

    def _reaching(self, known: KnownFile, lines: Iterable[int], why: str) -> set[str]:
        reached: set[str] = set()
        for line in lines:
            reached |= known.reach.get(line, set())
        self._add(reached, why)
        return reached

    # -- names ---------------------------------------------------------------------------------------------------

    def _definitions(self, path: str, changed: set[str]) -> None:
        """Take in that what these names of a file are bound to has changed."""
        files = self._graph.importers([path])
        names: set[str] = set()
        for code in self._versions(path):
            for name in changed & code.definitions.keys():
                names |= code.definitions[name].means
        for _ in range(_MOST_CLOSING):
            more = {
                meant
                for file in files
                for code in self._versions(file)
                for definition in code.definitions.values()
                if _mention(definition.names, names)
                for meant in definition.means
            }
            if more <= names:
                break
            names |= more
        else:
            self._importers(path, f"what {path} defines changed")
        shown = ", ".join(sorted(changed)[:3])
        for file in files:
            self._mentioning(file, names, f"{shown} in {path} changed")

    def _mentioning(self, file: str, names: set[str], why: str) -> None:
        known = self._known.files.get(file)
        if known is None:
            return
        if _mention(known.code.rest_names, names):
            self._importers(file, f"{why}, which {file} uses at import")
        for body in known.code.bodies.values():
            if _mention(body.names, names):
                reached = self._reaching(known, range(body.first, body.last + 1), why)
                if OUTSIDE_TESTS in reached:
                    self._importers(file, f"{why}, which {body.name} in {file} uses at import")
        if _TEST_FILE.search(file):
            self._tests_named(file, names, why)

    def _tests_named(self, file: str, names: set[str], why: str) -> None:
        """Take in tests whose own header or class mentions a changed name: parameters, marks, bases, fixtures."""
        for test in self._known.tests:
            if file_of(test) == file and not names.isdisjoint(test.split("[", 1)[0].split("::")[1:]):
                self._add([test], why)

    def _versions(self, path: str) -> list[FileCode]:
        return [side.files[path].code for side in (self._known, self._now) if path in side.files]

    def _new_tests(self, path: str, old: FileCode, new: FileCode) -> None:
        if not _TEST_FILE.search(path):
            return
        for name, definition in new.definitions.items():
            top, _, rest = name.partition(".")
            like_a_test = bool(_TEST_NAME.match(top)) and (not rest or bool(_TEST_NAME.match(rest)))
            if like_a_test and "." not in rest and old.definitions.get(name) != definition:
                self._add([f"{path}::{name.replace('.', '::')}"], f"{name} in {path} is new or changed")
        if old.rest != new.rest or not new.readable:
            self._add([path], f"{path} changed")

    # -- files ---------------------------------------------------------------------------------------------------

    def _importers(self, path: str, why: str) -> None:
        """Take in every test that imports a file: by its own file, a conftest above it, or what it reached."""
        files = self._graph.importers([path])
        above = {str(PurePosixPath(file).parent) for file in files if PurePosixPath(file).name == "conftest.py"}
        for test in self._known.tests:
            file = file_of(test)
            if file in files or any(_is_below(file, folder) for folder in above):
                self._add([test], why)
        for file in files:
            known = self._known.files.get(file)
            if known is not None:
                self._add(set().union(*known.reach.values()) if known.reach else (), why)

    def _below(self, path: str, why: str) -> None:
        folder = str(PurePosixPath(path).parent)
        self._add((test for test in self._known.tests if _is_below(file_of(test), folder)), why)

    def _other(self, path: str) -> None:
        readers = self._known.opened.get(path, set())
        if OUTSIDE_TESTS in readers:
            self._everything.append(f"{path} is read when tests are collected or modules imported")
        elif readers:
            self._add(readers, f"{path} changed, which it opens")
        elif not _is_text(path):
            self._everything.append(f"{path} changed, of which the map cannot tell who depends on it")


def _mention(mentioned: frozenset[str], names: set[str]) -> bool:
    return EVERYTHING in mentioned or not names.isdisjoint(mentioned)


def _is_below(path: str, folder: str) -> bool:
    return folder == "." or path.startswith(f"{folder}/")


def _is_text(path: str) -> bool:
    name = PurePosixPath(path)
    hidden = any(part.startswith(".") for part in name.parts)
    return name.suffix.lower() in _TEXTS or name.name in _TEXT_NAMES or hidden
