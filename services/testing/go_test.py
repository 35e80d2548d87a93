"""`go test`, where Go is installed."""

import json
import re
import shutil
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from quantum_suite.core.errors import CallerError, EngineMissing
from quantum_suite.core.masking import mask_text
from quantum_suite.services.sandbox.interface import Sandbox, SandboxCommand
from quantum_suite.services.testing.coverage_profile import read_profile
from quantum_suite.services.testing.interface import CaseOutcome, TestCase, TestRequest, TestRun
from quantum_suite.services.testing.junit_xml import junit_xml
from quantum_suite.services.testing.python_runner import Progress, text_tail

LONGEST_MESSAGE = 6_000
_OUTCOMES: dict[str, CaseOutcome] = {"pass": "passed", "fail": "failed", "skip": "skipped"}


@dataclass(slots=True)
class GoAccount:
    """What `go test -json` told so far. Tests are named `package.TestName/subtest`."""

    cases: dict[str, TestCase] = field(default_factory=dict)
    running: dict[str, TestCase] = field(default_factory=dict)
    output: dict[str, str] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)
    """Packages that failed, and what they printed outside their tests."""

    def take(self, line: bytes) -> TestCase | None:
        """Take in a line; returns the test it ends, if it does."""
        try:
            event = json.loads(line)
        except ValueError:
            return None
        if not isinstance(event, dict):
            return None
        action, package = str(event.get("Action")), str(event.get("Package") or event.get("ImportPath") or "")
        package = package.split(" ")[0]
        name = f"{package}.{event['Test']}" if event.get("Test") else package
        if action in ("output", "build-output"):
            self.output[name] = (self.output.get(name, "") + str(event.get("Output", "")))[-LONGEST_MESSAGE:]
        elif action == "run":
            self.running[name] = TestCase(name, "not_run")
        elif action in _OUTCOMES and event.get("Test"):
            return self._end(name, _OUTCOMES[action], event)
        elif action == "fail":
            self.packages[package] = self.output.get(package, "")
        return None

    def _end(self, name: str, outcome: CaseOutcome, event: dict[str, object]) -> TestCase:
        self.running.pop(name, None)
        seconds = event.get("Elapsed")
        message = mask_text(self.output.pop(name, "")) if outcome != "passed" else ""
        case = TestCase(name, outcome, float(seconds) if isinstance(seconds, int | float) else 0.0, message)
        self.cases[name] = case
        return case

    def every(self) -> tuple[TestCase, ...]:
        """Return the tests, those that were running when their process ended, and packages that did not build."""
        found = list(self.cases.values())
        for name, case in self.running.items():
            told = mask_text(self.output.get(name, ""))
            found.append(replace(case, outcome="error", message=f"was running when its process ended\n{told}"))
        names = [case.id for case in found]
        for package, text in self.packages.items():
            if not any(name.startswith(f"{package}.") for name in names):
                found.append(TestCase(package, "error", message=mask_text(text)))
        return tuple(found)


class GoTestRunner:
    """Runs `go test -json`; see `Runner`. Modules that are not vendored or in the module cache are not fetched."""

    name = "go"

    def __init__(self, sandbox: Sandbox, go: Path | None = None) -> None:
        self._sandbox = sandbox
        self._go = go

    def detect(self, root: Path) -> str | None:
        """Return why: `go.mod`, and a `_test.go` below it."""
        if (root / "go.mod").is_file() and next(root.rglob("*_test.go"), None) is not None:
            return "go.mod"
        return None

    async def run(self, request: TestRequest, progress: Progress | None = None) -> TestRun:
        """Run tests in the sandbox; see `Runner.run`."""
        started = time.monotonic()
        go = self._find()
        account = GoAccount()
        modules = _module_cache()
        cache = request.root / ".go-cache"
        profile = cache / "cover.out"

        async def line(data: bytes) -> None:
            case = account.take(data)
            if case is not None and progress is not None:
                done = len(account.cases)
                await progress(done, done + len(account.running), f"{case.id} {case.outcome}")

        cache.mkdir(exist_ok=True)
        try:
            end = await self._sandbox.run(
                SandboxCommand(
                    command=[str(go), "test", "-json", *self._options(request, profile)],
                    cwd=request.root,
                    writable=[request.root],
                    readable=[
                        go.resolve().parent.parent,
                        *([modules] if modules is not None else []),
                        *request.readable,
                    ],
                    env={
                        "GOCACHE": str(cache),
                        "GOFLAGS": "-mod=mod" if not (request.root / "vendor").is_dir() else "-mod=vendor",
                        "GOPROXY": "off",
                        "GOTOOLCHAIN": "local",
                        **({"GOMODCACHE": str(modules)} if modules is not None else {}),
                    },
                    limits=request.limits,
                ),
                line,
            )
            coverage = read_profile(profile, request.root) if request.coverage or request.contexts else ()
        finally:
            shutil.rmtree(cache, ignore_errors=True)
        skip = set(request.skip)
        cases = tuple(case for case in account.every() if case.id not in skip)
        broken = any(case.id in account.packages for case in cases)
        seconds = time.monotonic() - started
        wanted = request.coverage or request.contexts
        return TestRun(
            runner=self.name,
            runner_version="",
            cases=cases,
            ended=(
                "timeout"
                if end.ended_by == "timeout"
                else "collection_error"
                if broken
                else "finished"
                if cases
                else "no_tests"
            ),
            isolation=end.isolation,
            seconds=seconds,
            output_tail=text_tail([end]),
            coverage=coverage,
            junit_xml=junit_xml(self.name, cases, seconds),
            explanation=end.explanation,
            coverage_problem=_problem(request, bool(coverage)) if wanted else None,
        )

    def _find(self) -> Path:
        found = self._go or shutil.which("go")
        if found is None:
            raise EngineMissing("Go was not found.", "Install it from https://go.dev/dl/.", engine="go")
        return Path(found)

    def _options(self, request: TestRequest, profile: Path) -> list[str]:
        options = [f"-timeout={request.limits.seconds:g}s", f"-p={max(1, request.processes)}"]
        options.append(f"-shuffle={request.order_seed}" if request.order_seed is not None else "-count=1")
        if request.stop_at_first_failure:
            options.append("-failfast")
        if request.coverage or request.contexts:
            options += [f"-coverprofile={profile}", "-coverpkg=./..."]
        return [*options, *request.arguments, *_selection(request)]


def _problem(request: TestRequest, measured: bool) -> str | None:
    if not measured:
        return "go test wrote no coverage profile"
    return "go test does not tell which test reached a line" if request.contexts else None


def _selection(request: TestRequest) -> list[str]:
    """Return packages and a pattern for what is selected: folders, files or ids."""
    if not request.select:
        return ["./..."]
    module = _module(request.root)
    packages: list[str] = []
    tests: list[str] = []
    for name in request.select:
        path = request.root / name
        if path.exists():
            folder = path if path.is_dir() else path.parent
            packages.append(f"./{folder.relative_to(request.root).as_posix()}")
            continue
        match = re.fullmatch(rf"({re.escape(module)}[^.]*)\.(Test.*)", name)
        if match is None:
            raise CallerError(
                f"There is no '{name}'.",
                "Name folders, files, or ids as an earlier run gave them.",
                argument="select",
            )
        packages.append(f"./{match[1].removeprefix(module).lstrip('/') or '.'}")
        tests.append(match[2])
    options = []
    if tests:
        tops = dict.fromkeys(test.split("/")[0] for test in tests)
        options = ["-run", f"^({'|'.join(map(re.escape, tops))})$"]
    return [*options, *dict.fromkeys(packages)]


def _module(root: Path) -> str:
    for line in (root / "go.mod").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("module "):
            return line.split()[1].strip('"')
    return ""


def _module_cache() -> Path | None:
    path = Path.home() / "go" / "pkg" / "mod"
    return path if path.is_dir() else None
