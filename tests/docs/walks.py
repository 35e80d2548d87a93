"""Walks: pages whose blocks are done in order, by an assistant at the hub, and whose answers are compared.

A block is marked by a comment before it:

    <!-- call TOOL -->      the JSON below is its arguments, the text after that what it answers
    <!-- wait TOOL -->      the same, called again until it answers so
    <!-- read URI -->       the text below is what the resource holds
    <!-- asked -->          the text below is what a person was asked, last
    <!-- run -->            a command of the reader's own, and what it prints
    <!-- file NAME -->      a file of the workspace
    <!-- text NAME -->      a text, which arguments then name

`<NAME>` in arguments and URIs is such a text, else the value of the member NAME in the newest answer that has one.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import anyio.to_thread
from docs.pages import ROOT, fits
from mcp import Client
from reference.answers import read, text_of
from reference.hub import eventually, tool_names
from reference.people import Person
from reference.running import listening

SECONDS = 400.0
WAIT_SECONDS = 60.0
_BLOCK = re.compile(
    r"<!-- (?P<mark>call|wait|read|asked|run|file|text)\b *(?P<name>[^\n]*?) -->\n```\w+\n(?P<body>.*?)```\n"
    r"(?:\n```text\n(?P<expected>.*?)```\n)?",
    re.DOTALL,
)
_NAMED = re.compile(r"<([a-z_]+)>")
Mode = Literal["auto", "legacy"]


@dataclass(frozen=True)
class Step:
    """One block of a walk."""

    mark: str
    name: str
    body: str
    expected: str | None


def walk_steps(page: str) -> Iterator[Step]:
    """Return what a page does, in order."""
    for match in _BLOCK.finditer((ROOT / page).read_text(encoding="utf-8")):
        yield Step(match["mark"], match["name"], match["body"], match["expected"])


@asynccontextmanager
async def hub_up(workspace: Path, home: Path, *options: str, **environment: str) -> AsyncIterator[str]:
    """Run `quantum up` with its state under `home`, and yield its URL."""
    quantum = str(Path(sys.executable).with_name("quantum"))
    state = {"HOME": str(home), "QUANTUM_DATA_DIR": str(home / "data"), "QUANTUM_EMBEDDING": "none"}
    command = [quantum, "up", "--json", "--workspace", str(workspace), *options]
    async with listening(command, {**state, **environment}) as (url, _):
        yield url


async def offered(client: Client, *tools: str) -> None:
    """Wait until the hub lists tools."""

    async def there() -> bool:
        return set(tools) <= await tool_names(client)

    await eventually(there, seconds=120)


@dataclass
class Walk:
    """An assistant on its way, and what it learned."""

    client: Client
    workspace: Path
    person: Person = field(default_factory=Person)
    environment: Mapping[str, str] = field(default_factory=dict)
    """Of the reader's commands."""
    texts: dict[str, str] = field(default_factory=dict)
    answers: list[Any] = field(default_factory=list)
    """The structured ones, the newest first."""

    async def take(self, step: Step) -> None:
        """Do one step; raises AssertionError where the answer is not what the page says."""
        match step.mark:
            case "text":
                self.texts[step.name] = step.body
            case "file":
                file = self.workspace / step.name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(step.body)
            case "call":
                _compare(step, await self._call(step), step.expected)
            case "wait":
                await self._wait(step)
            case "read":
                _compare(step, await read(self.client, self._filled(step.name)), step.body)
            case "asked":
                _compare(step, self.person.asked[-1], step.body)
            case _:
                _compare(step, await anyio.to_thread.run_sync(self._run, step.body), step.expected or "")

    async def _call(self, step: Step) -> str:
        arguments = self._filled(json.loads(step.body))
        result = await self.client.call_tool(step.name, arguments, read_timeout_seconds=SECONDS)
        text = text_of(result)
        assert not result.is_error, text
        self.answers.insert(0, result.structured_content)
        return text

    async def _wait(self, step: Step) -> None:
        printed = ""

        async def so() -> bool:
            nonlocal printed
            printed = await self._call(step)
            return fits(step.expected or "", printed)

        try:
            await eventually(so, seconds=WAIT_SECONDS)
        except TimeoutError:
            _compare(step, printed, step.expected)

    def _run(self, script: str) -> str:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-e", "-c", script],
            cwd=self.workspace,
            env={**os.environ, "PATH": path, "COLUMNS": "200", **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def _filled(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._filled(one) for key, one in value.items()}
        if isinstance(value, list):
            return [self._filled(one) for one in value]
        if not isinstance(value, str):
            return value
        whole = _NAMED.fullmatch(value)
        return self._known(whole[1]) if whole else _NAMED.sub(lambda found: str(self._known(found[1])), value)

    def _known(self, name: str) -> Any:
        if name in self.texts:
            return self.texts[name]
        found = next((one for answer in self.answers for one in _members(answer, name)), None)
        assert found is not None, f"no answer has told {name}"
        return found


def _members(answer: Any, name: str) -> Iterator[Any]:
    """Yield the members of that name in an answer, the outer ones first; null is none."""
    inside = answer.values() if isinstance(answer, dict) else answer if isinstance(answer, list) else ()
    if isinstance(answer, dict) and answer.get(name) is not None:
        yield answer[name]
    for one in inside:
        yield from _members(one, name)


def _compare(step: Step, printed: str, expected: str | None) -> None:
    assert expected is not None, f"{step.mark} {step.name}: the page does not say what is answered"
    assert fits(expected, printed), f"{step.mark} {step.name}\n{printed}\nis not\n{expected}"
