"""What the gateway to language models adds to a call, and what is lost and charged when providers fail.

    python bench/gateway.py
    python bench/gateway.py --smoke

Three parts:

- CPU: the same streamed answer (24 pieces) read by plain httpx2, which parses every piece, and through the gateway
  in the same process, with all it does: masking, routing, limits, budgets, a ledger and an encrypted event log on
  disk. The responder is a process of its own. CPU is user and system time of this process, threads included: the
  one that commits events, and the one that brings the ledger onto the disk. All take turns of 20 calls, under the
  garbage collector's settings of a hub; the figures are medians over the turns.
- Faults: a real model server (llama.cpp) behind a proxy that breaks what passes, or killed or stopped itself. All
  calls are counted: what the caller saw, whether one was lost, whether one was charged twice.
- Size: seconds of CPU and resident memory of importing the gateway and opening it, in a process of its own.

With `--json` the last line is `{"figures": {...}}`.
"""

import argparse
import gc
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx2
import orjson

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from reference.backends import running
from reference.faults import Change, CutBefore, Fault, Refuse, Reply, Stall, fault_proxy
from reference.gateways import busy
from reference.models import MODEL, ModelServer, configured, provider

from quantum_suite.core.errors import SuiteError
from quantum_suite.core.llm_events import LLM_EVENTS
from quantum_suite.services.encryption.event_cipher import KeyedEventCipher
from quantum_suite.services.encryption.file import FileKeyProvider
from quantum_suite.services.encryption.subjects.sqlite import open_sqlite_subject_keys
from quantum_suite.services.events.outbox import EventOutbox
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.events.sqlite import SqliteEventStore
from quantum_suite.services.llm.interface import Gateway, Message, ModelRequest, TextDelta
from quantum_suite.services.llm.ledger.interface import Ledger
from quantum_suite.services.llm.ledger.memory import MemoryLedger
from quantum_suite.services.llm.ledger.sqlite import SqliteLedger
from quantum_suite.services.llm.opening import open_gateway

PROMPT = (
    "Say in one sentence what this function does and what is wrong with it.\n"
    + "    total += price * count\n" * 40
)
"""About 1,000 characters."""

TURN = 20
"""Calls in a row, before somebody else's turn: what disturbs the machine disturbs everybody."""


def request(**more: Any) -> ModelRequest:
    """Return what every CPU measurement asks."""
    return ModelRequest((Message("user", PROMPT),), **{"max_output_tokens": 64, "temperature": 0.0, **more})


async def plain(client: httpx2.AsyncClient, url: str) -> str:
    """Read one answer as a careful caller without a gateway would."""
    body = {
        "model": "echo",
        "messages": [{"role": "user", "content": PROMPT}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 64,
        "temperature": 0.0,
    }
    parts = []
    async with client.stream("POST", f"{url}/v1/chat/completions", json=body) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            if line.startswith("data: ") and line != "data: [DONE]":
                event = orjson.loads(line[6:])
                if event["choices"]:
                    parts.append(event["choices"][0]["delta"].get("content") or "")
    return "".join(parts)


async def streamed(models: Gateway) -> str:
    """Read the same answer through the gateway."""
    parts = []
    async with models.stream(request(), "key:ann") as events:
        async for event in events:
            if isinstance(event, TextDelta):
                parts.append(event.text)
    return "".join(parts)


@asynccontextmanager
async def full_gateway(directory: Path, url: str) -> AsyncIterator[tuple[Gateway, EventOutbox]]:
    """Open a gateway as the hub does: ledger, outbox and encrypted events on disk, a budget, masking.

    The outbox is carried over by whoever measures, so that its cost falls on those who filled it.
    """
    path = configured(
        directory / "providers.yaml",
        {"echo": {"kind": "openai_compatible", "base_url": f"{url}/v1", "models": {"echo": {}}}},
        budgets=[{"per": "day", "tokens": 10**12}],
    )
    async with AsyncExitStack() as stack:
        keys = FileKeyProvider(directory / "keys.json")
        subjects = stack.enter_context(open_sqlite_subject_keys(directory / "subjects.db", keys))
        cipher = KeyedEventCipher(keys, subjects)
        store = SqliteEventStore(directory / "events.db", EventRegistry(LLM_EVENTS), cipher)
        events = await stack.enter_async_context(store)
        outbox = stack.enter_context(EventOutbox(directory / "outbox.db", events, LLM_EVENTS))
        ledger = stack.enter_context(SqliteLedger(directory / "ledger.db"))
        opened = open_gateway(path, ledger=ledger, events=outbox, environ={})
        yield await stack.enter_async_context(opened), outbox


@asynccontextmanager
async def bare_gateway(directory: Path, url: str) -> AsyncIterator[Gateway]:
    """Open a gateway that keeps nothing: the same without disks."""
    providers = {"echo": {"kind": "openai_compatible", "base_url": f"{url}/v1", "models": {"echo": {}}}}
    path = configured(directory / "bare.yaml", providers)
    async with open_gateway(path, ledger=MemoryLedger(), environ={}) as models:
        yield models


def settle_memory() -> None:
    """Set the garbage collector as a hub does once it has started (hub/serve.py)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


async def nothing() -> None:
    """Have nothing to do afterwards."""


async def cpu_ms(call: Callable[[], Any], calls: int, afterwards: Callable[[], Any] = nothing) -> float:
    """Return the CPU milliseconds a call takes this process, its share of what is done afterwards included."""
    began = time.process_time()
    for _ in range(calls):
        await call()
    await afterwards()
    return (time.process_time() - began) / calls * 1000


async def measure_cpu(directory: Path, calls: int) -> dict[str, float]:
    """Return CPU milliseconds a call, the median over the turns that everybody takes until `calls` are made."""
    script = Path(__file__).with_name("echo_model.py")
    responder = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    try:
        assert responder.stdout is not None
        url = f"http://127.0.0.1:{responder.stdout.readline().strip()}"
        async with (
            httpx2.AsyncClient(verify=False, trust_env=False) as client,
            full_gateway(directory, url) as (full, outbox),
            bare_gateway(directory, url) as bare,
        ):

            async def alone() -> str:
                text = await streamed(full)
                await outbox.carry()
                return text

            contenders: dict[str, Callable[[], Any]] = {
                "plain": lambda: plain(client, url),
                "bare": lambda: streamed(bare),
                "full": lambda: streamed(full),
                "alone": alone,
            }
            texts = {name: await call() for name, call in contenders.items()}
            assert len(set(texts.values())) == 1
            for call in contenders.values():
                await cpu_ms(call, TURN)
            settle_memory()
            found: dict[str, list[float]] = {name: [] for name in contenders}
            for _ in range(max(1, calls // TURN)):
                for name, call in contenders.items():
                    await call()
                    await outbox.carry()
                    found[name].append(await cpu_ms(call, TURN, outbox.carry if name == "full" else nothing))
    finally:
        responder.kill()
        responder.communicate()
    return {name: statistics.median(values) for name, values in found.items()}


@dataclass
class Tally:
    """What came of the calls under one fault."""

    calls: int = 0
    answered: int = 0
    lost: int = 0
    charged_twice: int = 0
    attempts: int = 0
    seen: Counter[str] = field(default_factory=Counter)


async def ask_all(models: Gateway, ledger: Ledger, calls: int, together: bool, tokens: int) -> Tally:
    """Ask `calls` questions, and count."""
    tally = Tally(calls)

    async def one(number: int) -> None:
        asked = ModelRequest(
            (Message("user", f"Say {number}."),),
            max_output_tokens=tokens,
            temperature=0.0,
            call_id=f"call-{number}",
            deadline_seconds=180,
        )
        try:
            answer = await models.ask(asked, "key:ann")
            tally.answered += 1
            tally.seen[f"answer of {answer.finished.provider}"] += 1
        except SuiteError as error:
            tally.lost += 1
            tally.seen[error.code] += 1

    async with anyio.create_task_group() as tasks:
        for number in range(calls):
            if together:
                tasks.start_soon(one, number)
            else:
                await one(number)
    charges = await ledger.charges(limit=10_000)
    tally.attempts = len(charges)
    answered = Counter(charge.call_id for charge in charges if charge.state == "answered")
    tally.charged_twice = sum(number > 1 for number in answered.values())
    return tally


FAULTS: dict[str, Fault] = {
    "no connection": Refuse(),
    "slow: silent for 1 s": Stall(),
    "429, Retry-After": Reply(429, '{"error": {"message": "slow down"}}', {"retry-after-ms": "300"}),
    "500": Reply(500, '{"error": {"message": "oops"}}'),
    "stream cut": CutBefore(b'"finish_reason":"'),
    "bad JSON": Change(b'{"choices"', b'{"choices;'),
    "overflow (400)": Reply(400, '{"error": {"message": "request exceeds the available context size"}}'),
}


async def under_fault(directory: Path, good: ModelServer, fault: Fault, calls: int, *, alone: bool) -> Tally:
    """Ask while every other request to the first provider fails; `alone`: there is no second."""
    faults: list[Any] = [fault, None] * calls
    async with fault_proxy(good.url) as proxy:
        proxy.faults.extend(faults)
        # Long enough for a busy machine, but where silence is what is measured.
        silence = 1 if isinstance(fault, Stall) else 30
        providers = {"first": provider(proxy.url, silence_seconds=silence)}
        routes = {"default": [f"first/{MODEL}"]}
        if not alone:
            providers["second"] = provider(good.url)
            routes["default"].append(f"second/{MODEL}")
        path = configured(directory / "faults.yaml", providers, routes=routes)
        ledger = MemoryLedger()
        async with open_gateway(path, ledger=ledger, environ={}) as models:
            return await ask_all(models, ledger, calls, together=False, tokens=4)


async def under_signal(directory: Path, good: ModelServer, number: signal.Signals, calls: int) -> Tally:
    """Ask while the first provider's process is killed or stopped in the middle of its answers."""
    first = ModelServer(directory / f"victim-{number.name}")
    first.start()
    assert first.process is not None
    try:
        providers = {"first": provider(first.url, silence_seconds=3), "second": provider(good.url)}
        routes = {"default": [f"first/{MODEL}", f"second/{MODEL}"]}
        path = configured(directory / "signals.yaml", providers, routes=routes)
        ledger = MemoryLedger()
        async with open_gateway(path, ledger=ledger, environ={}) as models, anyio.create_task_group() as tasks:

            async def strike() -> None:
                await busy(first)
                assert first.process is not None
                os.kill(first.process.pid, number)

            tasks.start_soon(strike)
            tally = await ask_all(models, ledger, calls, together=True, tokens=12)
    finally:
        first.kill()
    return tally


async def read_until_it_breaks(directory: Path, good: ModelServer) -> str:
    """Return what the reader of a stream sees when it is cut after its first pieces."""
    async with fault_proxy(good.url, CutBefore(b'"finish_reason":"')) as proxy:
        providers = {"first": provider(proxy.url), "second": provider(good.url)}
        routes = {"default": [f"first/{MODEL}", f"second/{MODEL}"]}
        path = configured(directory / "stream.yaml", providers, routes=routes)
        ledger = MemoryLedger()
        pieces = 0
        async with open_gateway(path, ledger=ledger, environ={}) as models:
            try:
                async with models.stream(request(max_output_tokens=8), "key:ann") as events:
                    async for event in events:
                        pieces += isinstance(event, TextDelta)
            except SuiteError as error:
                states = [charge.state for charge in await ledger.charges()]
                return f"{pieces} pieces, then {error.code}; charged: {', '.join(states)}"
        return f"{pieces} pieces, whole"


async def measure_faults(directory: Path, calls: int, smoke: bool) -> dict[str, Tally]:
    """Return the tallies, by name."""
    found: dict[str, Tally] = {}
    good = ModelServer(directory / "model")
    with running(good):
        for name, fault in FAULTS.items():
            if smoke and name not in ("500", "stream cut"):
                continue
            found[name] = await under_fault(directory, good, fault, calls, alone=False)
            if not name.startswith("overflow"):
                found[f"{name}, no other provider"] = await under_fault(directory, good, fault, calls, alone=True)
        found["killed (SIGKILL)"] = await under_signal(directory, good, signal.SIGKILL, calls)
        if not smoke:
            found["stopped (SIGSTOP)"] = await under_signal(directory, good, signal.SIGSTOP, calls)
        print(f"a stream cut in the middle: {await read_until_it_breaks(directory, good)}")
    return found


_SIZE = """
import resource, sys, time
def mb(): return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20
import asyncio, anyio, httpx2, pydantic
before, began = mb(), time.process_time()
import quantum_suite.services.llm.opening
print(time.process_time() - began, mb() - before, mb())
"""


def measure_size() -> tuple[float, float, float]:
    """Return the CPU seconds and MB the gateway's import adds to anyio, httpx2 and pydantic, and MB in all."""
    done = subprocess.run([sys.executable, "-c", _SIZE], capture_output=True, text=True, check=True)
    seconds, added, total = map(float, done.stdout.split())
    return seconds, added, total


def print_faults(found: dict[str, Tally]) -> None:
    """Print the table."""
    print(f"{'fault':<42}{'calls':>6}{'answered':>9}{'lost':>5}{'twice':>6}{'requests':>9}  seen")
    for name, tally in found.items():
        seen = ", ".join(f"{number} {what}" for what, number in tally.seen.most_common())
        print(
            f"{name:<42}{tally.calls:>6}{tally.answered:>9}{tally.lost:>5}{tally.charged_twice:>6}"
            f"{tally.attempts:>9}  {seen}"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="a little of each part, some seconds")
    parser.add_argument("--json", action="store_true", help="end with one line of figures")
    parser.add_argument("--calls", type=int, default=1000, help="calls each way of the CPU part")
    parser.add_argument("--fault-calls", type=int, default=10, help="calls under each fault")
    options = parser.parse_args()
    calls = TURN if options.smoke else options.calls
    with tempfile.TemporaryDirectory() as scratch:
        cpu = anyio.run(measure_cpu, Path(scratch), calls)
        print(f"CPU ms a call: plain httpx2 {cpu['plain']:.2f}, gateway without disks {cpu['bare']:.2f}, ", end="")
        print(f"gateway {cpu['full']:.2f}: {cpu['full'] - cpu['plain']:+.2f}; ", end="")
        print(f"a call whose event is stored by itself {cpu['alone']:.2f}: {cpu['alone'] - cpu['plain']:+.2f}")
        seconds, added, total = measure_size()
        print(
            f"import: {seconds:.2f} s of CPU and {added:.0f} MB beside httpx2 and pydantic; {total:.0f} MB in all"
        )
        fault_calls = 2 if options.smoke else options.fault_calls
        found = anyio.run(measure_faults, Path(scratch), fault_calls, options.smoke)
        print_faults(found)
    if options.json:
        figures = {
            "plain_cpu_ms": round(cpu["plain"], 3),
            "gateway_without_disks_cpu_ms": round(cpu["bare"], 3),
            "gateway_cpu_ms": round(cpu["full"], 3),
            "added_cpu_ms": round(cpu["full"] - cpu["plain"], 3),
            "added_cpu_ms_alone": round(cpu["alone"] - cpu["plain"], 3),
            "import_cpu_seconds": round(seconds, 3),
            "import_mb": round(added, 1),
            "lost": sum(tally.lost for tally in found.values()),
            "charged_twice": sum(tally.charged_twice for tally in found.values()),
            "fault_calls": sum(tally.calls for tally in found.values()),
        }
        print(json.dumps({"figures": figures}))


if __name__ == "__main__":
    main()
