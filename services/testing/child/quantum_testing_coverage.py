"""Measures which lines and branches run, and which test ran them, with coverage.py's C tracer."""

from __future__ import annotations

import functools
import importlib.machinery
import json
import os
import sys
import time
from typing import Any

OUTSIDE = ""
"""The context of what runs in no test: imports, collection, and what is computed once and kept."""
_FIXTURE = "::fixture "
_TRIES = 20
_PAUSE_SECONDS = 0.01
_STARTS = frozenset(
    (
        "subprocess.Popen",
        "os.fork",
        "os.forkpty",
        "os.posix_spawn",
        "os.spawn",
        "os.system",
        "os.exec",
        "pty.spawn",
    )
)


class Measure:
    """One measurement. `problem` says why there is none."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.problem: str | None = None
        self.version: str | None = None
        self._root = os.path.realpath(config["root"])
        self._wanted = bool(config["coverage"])
        self._contexts = bool(config["contexts"])
        self._work = config["work"]
        self._stack: list[str] = []
        self._uses: dict[str, list[str]] = {}
        self._opened: dict[str, set[str]] = {}
        self._far: set[str] = set()
        self._coverage: Any = None
        if self._wanted:
            self._open(config.get("coverage_path"))

    @property
    def contexts(self) -> bool:
        """Whether tests are told apart."""
        return self._coverage is not None and self._contexts

    def _open(self, injected: str | None) -> None:
        coverage = _import_coverage(injected)
        if coverage is None:
            self.problem = f"coverage.py is not installed; install it with `{_python()} -m pip install coverage`"
            return
        self.version = coverage.__version__
        os.environ.setdefault("COVERAGE_CORE", "ctrace")
        options: dict[str, Any] = {
            "data_file": os.path.join(self._work, "coverage.data"),
            "branch": True,
            "source": [self._root],
            "messages": False,
        }
        try:
            self._coverage = coverage.Coverage(**options)
            self._coverage.set_option("run:source_pkgs", [])
            self._coverage.set_option("run:parallel", False)
            omit = self._coverage.get_option("run:omit") or []
            never = ["*/.venv/*", "*/venv/*", "*/node_modules/*", "*/site-packages/*"]
            self._coverage.set_option("run:omit", [*omit, *never])
        except Exception:  # the project's own coverage settings may be anything
            self._coverage = coverage.Coverage(config_file=False, **options)

    def start(self) -> None:
        """Begin to measure."""
        if self._coverage is None:
            return
        try:
            self._coverage.start()
        except Exception as error:  # e.g. another tracer that cannot be shared
            self.problem, self._coverage = f"coverage.py could not start: {error}", None
            return
        if self.contexts:
            self._watch_imports()
            self._watch_caches()
            sys.addaudithook(self._audit)

    def enter(self, context: str) -> None:
        """What runs from now on belongs to `context`, until `leave`."""
        if self.contexts:
            self._stack.append(context)
            self._switch(context)

    def leave(self) -> None:
        """Return to the context before."""
        if self.contexts and self._stack:
            self._stack.pop()
            self._switch(self._stack[-1] if self._stack else OUTSIDE)

    def _switch(self, context: str) -> None:
        # Threads that a test left behind may be traced at this moment: what is gathered cannot be counted then.
        for _ in range(_TRIES):
            try:
                self._coverage.switch_context(context)
            except RuntimeError:
                time.sleep(_PAUSE_SECONDS)
            else:
                return
        self.problem = f"which test reached a line could not be told from {context or 'the import'} on"

    def enter_fixture(self, key: str) -> None:
        """What runs from now on is set up once for several tests."""
        self.enter(_FIXTURE + key)

    def uses(self, test: str, fixtures: list[str]) -> None:
        """Say that a test stands on what these fixtures set up."""
        for key in fixtures:
            self._uses.setdefault(_FIXTURE + key, []).append(test)

    def _watch_imports(self) -> None:
        """Count what a module runs when it is imported as run in no test, whichever test imports it first."""
        original = importlib.machinery.SourceFileLoader.exec_module
        measure = self

        def exec_module(loader: Any, module: Any) -> None:
            inside = measure._is_ours(getattr(loader, "path", ""))
            if inside:
                measure.enter(OUTSIDE)
            try:
                original(loader, module)
            finally:
                if inside:
                    measure.leave()

        importlib.machinery.SourceFileLoader.exec_module = exec_module  # type: ignore[method-assign, assignment]  # on purpose

    def _watch_caches(self) -> None:
        """Count what is computed once and kept as run in no test: later tests stand on it without running it."""
        lru_cache, measure = functools.lru_cache, self

        def outside(function: Any) -> Any:
            code = getattr(function, "__code__", None)
            if code is None or not measure._is_ours(code.co_filename):
                return function

            @functools.wraps(function)
            def compute(*args: Any, **kwargs: Any) -> Any:
                measure.enter(OUTSIDE)
                try:
                    return function(*args, **kwargs)
                finally:
                    measure.leave()

            return compute

        def watched_lru_cache(maxsize: Any = 128, typed: bool = False) -> Any:
            if callable(maxsize):
                kept = lru_cache(typed=typed)(outside(maxsize))
                return functools.update_wrapper(kept, maxsize)
            make = lru_cache(maxsize, typed)
            return lambda function: functools.update_wrapper(make(outside(function)), function)

        functools.lru_cache = watched_lru_cache
        functools.cache = lambda function: watched_lru_cache(None)(function)
        original = functools.cached_property.__init__

        def init(prop: Any, func: Any) -> None:
            original(prop, outside(func))

        functools.cached_property.__init__ = init  # type: ignore[method-assign, assignment]  # likewise

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        """Note which files a test opens, and whether it starts processes, whose lines nobody sees."""
        if event == "open":
            if args and isinstance(args[0], (str, bytes)):
                path = os.path.abspath(os.fsdecode(args[0]))
                if path.startswith(self._root + os.sep) and not path.endswith((".py", ".pyc")):
                    relative = path[len(self._root) + 1 :].replace(os.sep, "/")
                    self._opened.setdefault(relative, set()).add(self._now())
        elif event in _STARTS:
            self._far.add(self._now())

    def _now(self) -> str:
        return self._stack[-1] if self._stack else OUTSIDE

    def _tests_of(self, context: str) -> list[str]:
        return self._uses.get(context, []) if context.startswith(_FIXTURE) else [context]

    def _is_ours(self, path: str) -> bool:
        return os.path.abspath(path).startswith(self._root + os.sep) and "site-packages" not in path

    def save(self) -> None:
        """Write what was measured so far, whole or not at all."""
        if self._coverage is None:
            return
        try:
            self._coverage.stop()
            found = self._found()
        except Exception as error:
            self.problem = f"coverage.py could not report: {type(error).__name__}: {error}"
            return
        staged = os.path.join(self._work, "coverage.part")
        with open(staged, "w", encoding="utf-8") as file:
            json.dump(found, file)
        os.replace(staged, os.path.join(self._work, "coverage.json"))

    def _found(self) -> dict[str, Any]:
        report = os.path.join(self._work, "report.json")
        self._coverage.json_report(outfile=report, ignore_errors=True)
        with open(report, encoding="utf-8") as file:
            told = json.load(file)["files"]
        data = self._coverage.get_data()
        names: dict[str, int] = {}
        files = {}
        for path, shown in told.items():
            absolute = path if os.path.isabs(path) else os.path.join(os.getcwd(), path)
            relative = os.path.relpath(os.path.realpath(absolute), self._root).replace(os.sep, "/")
            if relative.startswith("../"):
                continue
            files[relative] = {
                "executed": shown["executed_lines"],
                "missing": shown["missing_lines"],
                "missing_branches": shown.get("missing_branches", []),
                "branches": shown["summary"].get("num_branches", 0),
                "lines": self._lines(data, os.path.realpath(absolute), names) if self._contexts else {},
            }
        opened = {
            path: sorted({test for context in contexts for test in self._tests_of(context)})
            for path, contexts in self._opened.copy().items()
        }
        far = sorted({test for context in self._far.copy() for test in self._tests_of(context)})
        return {"contexts": list(names), "files": files, "opened": opened, "far": far}

    def _lines(self, data: Any, path: str, names: dict[str, int]) -> dict[str, list[int]]:
        lines = {}
        for line, contexts in data.contexts_by_lineno(path).items():
            if line < 1:
                continue
            reached = set()
            for context in contexts:
                for name in self._tests_of(context):
                    reached.add(names.setdefault(name, len(names)))
            lines[str(line)] = sorted(reached)
        return lines


def _python() -> str:
    """Return this interpreter by its environment's own place: tests run in a copy, which has a link to it."""
    folder, name = os.path.split(sys.executable)
    environment, folder = os.path.split(folder)
    return os.path.join(os.path.realpath(environment), folder, name)


def _import_coverage(injected: str | None) -> Any:
    try:
        import coverage
    except ImportError:
        if injected is None:
            return None
        sys.path.append(injected)
        try:
            import coverage
        except Exception:  # it is of another Python, and may be written in what this one does not know
            return None
        finally:
            sys.path.remove(injected)
    try:
        from coverage.tracer import CTracer  # noqa: F401 - present where the tracer in C is
    except ImportError:
        return None
    return coverage
