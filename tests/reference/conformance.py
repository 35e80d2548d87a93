"""The protocol's own conformance suite (npm `@modelcontextprotocol/conformance`), run against a URL.

`conformance_suite/` pins the suite and everything below it by integrity hash.
"""

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from reference.npm import NODE, environment, install

PINNED = Path(__file__).parent / "conformance_suite"
ENTRY = Path("node_modules", "@modelcontextprotocol", "conformance", "dist", "index.js")

RUN_SECONDS = 270


class SuiteFailed(Exception):
    """The suite could not be installed or did not run to its end; the text holds what it printed."""


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """What the suite found in one scenario."""

    scenario: str
    passed: int
    skipped: int
    problems: tuple[str, ...]
    """One line for each check that failed or warned: its id, and what was expected."""


async def install_suite() -> Path:
    """Return the suite's entry script, installing it first where that has not happened for this lock file."""
    return await anyio.to_thread.run_sync(install, PINNED) / ENTRY


async def scored_scenarios(revision: str) -> tuple[str, ...]:
    """Return the server scenarios that decide conformance to `revision`, in the suite's order."""
    text = await _node(await install_suite(), "list", "--requirements", revision)
    section = text.partition("Server scenarios")[2].partition("\n\n")[0]
    names = tuple(line.removeprefix("  - ") for line in section.splitlines() if line.startswith("  - "))
    if not names:
        raise SuiteFailed(f"The suite lists no server scenario for {revision}:\n{text}")
    return names


async def run_suite(url: str, revision: str, output: Path, *, whole: bool = False) -> dict[str, ScenarioResult]:
    """Run what decides conformance to `revision` against `url` and return the results by scenario.

    The suite goes on with scenarios that decide nothing, those of the tasks extension among them, and waits up to
    a minute in them for what a server does not have: unless `whole` wants them too, it is ended once the others
    are through. Raises SuiteFailed when it broke before; a scenario that fails is a result.
    """
    scored = set(await scored_scenarios(revision))
    command = [str(NODE), str(await install_suite()), "server", "--url", url]
    command += ["--requirements", revision, "-o", str(output)]
    printed = output.with_suffix(".log")
    with anyio.fail_after(RUN_SECONDS), printed.open("wb") as log:
        async with await anyio.open_process(command, stdout=log, stderr=log, env=environment()) as suite:
            while suite.returncode is None and (whole or scored - _results(output).keys()):
                await anyio.sleep(0.1)
            if suite.returncode is None:
                suite.kill()
    results = _results(output)
    if missing := scored - results.keys():
        text = printed.read_text(errors="replace")[-4000:]
        raise SuiteFailed(f"The suite ended with {suite.returncode} and without {sorted(missing)}:\n{text}")
    return results if whole else {scenario: results[scenario] for scenario in scored}


def _results(output: Path) -> dict[str, ScenarioResult]:
    """Return what is there of a run's results; one that is being written is not there yet."""
    results: dict[str, ScenarioResult] = {}
    for path in sorted(output.glob("server-*/checks.json")):
        with suppress(json.JSONDecodeError):
            result = _read(path)
            results[result.scenario] = result
    return results


def _read(path: Path) -> ScenarioResult:
    """Read one scenario's checks; its folder is named `server-<scenario>-<ISO time>`."""
    scenario = path.parent.name.removeprefix("server-").rsplit("-", 6)[0]
    checks: list[dict[str, Any]] = json.loads(path.read_bytes())
    problems = tuple(
        f"{check['id']} ({check['status']}): {check.get('errorMessage') or check['description']}"
        for check in checks
        if check["status"] in ("FAILURE", "WARNING")
    )
    statuses = [check["status"] for check in checks]
    return ScenarioResult(scenario, statuses.count("SUCCESS"), statuses.count("SKIPPED"), problems)


async def _node(script: Path, *arguments: str, ok: tuple[int, ...] = (0,)) -> str:
    command = [str(NODE), str(script), *arguments]
    done = await anyio.run_process(command, env=environment(), check=False)
    if done.returncode not in ok:
        printed = (done.stdout + done.stderr).decode(errors="replace")[-4000:]
        raise SuiteFailed(f"{script.name} {' '.join(arguments)} ended with {done.returncode}:\n{printed}")
    return done.stdout.decode()
