"""What the data plane does a second, embedded and distributed side by side in one run.

`python bench/dataplane.py` measures everything, `--smoke` a little of each part. Embedded is what the suite keeps
in files below its data directory, encrypted, as it ships. Distributed is the same over PostgreSQL and NATS, real
servers on this machine that the bench starts. `bench/README.md` says what is counted.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from dataplane_parts import audit_chain, delivery, event_store, projections, workflows
from reference.backends import Nats, Postgres, running

from quantum_suite.services.encryption.event_cipher import KeyedEventCipher
from quantum_suite.services.encryption.memory import MemoryKeyProvider
from quantum_suite.services.encryption.subjects.memory import memory_subject_keys

HEADLINE = 16
"""Producers at once for the figures that carry no number of them."""

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured."""

    append_seconds: float
    delivery_seconds: float
    audit_events: int
    audit_records: int
    audit_runs: int
    workflow_seconds: float
    smoke: bool


FULL = Effort(3, 15, 50_000, 500_000, 3, 6, False)
SMOKE = Effort(0.2, 1, 500, 5_000, 1, 1, True)


@dataclass(frozen=True, slots=True)
class Ground:
    """Where everything is measured: servers that are empty at the start, and a directory."""

    directory: Path
    postgres: Postgres
    nats: Nats

    def database(self, name: str) -> str:
        """Return an empty database."""
        return self.postgres.new_database(f"bench_{name}")

    def folder(self, name: str) -> Path:
        """Return an empty directory."""
        path = self.directory / name
        path.mkdir()
        return path


def main() -> None:
    """Measure, and print the table or the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="the last line is {'figures': {...}}")
    parser.add_argument("--smoke", action="store_true", help="a little of each part")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), help="measure these parts alone")
    chosen = parser.parse_args()
    effort = SMOKE if chosen.smoke else FULL
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)  # PostgreSQL does not run as root, and has to reach its data
        postgres, nats = Postgres(root / "postgres"), Nats(root / "nats")
        with running(postgres), running(nats):
            ground = Ground(root, postgres, nats)
            for part in chosen.only or PARTS:
                print(f"measuring {part}", file=sys.stderr, flush=True)
                figures |= anyio.run(PARTS[part], ground, effort, backend_options={"use_uvloop": True})
    figures |= _headlines(figures)
    _print_table(figures)
    if chosen.json:
        print(json.dumps({"figures": {name: round(value, 3) for name, value in figures.items()}}))


async def _event_store(ground: Ground, effort: Effort) -> Figures:
    """Measure each store without encryption, and as the suite uses it, with."""
    provider = MemoryKeyProvider()
    ciphers = {"": None, "_encrypted": KeyedEventCipher(provider, memory_subject_keys(provider))}
    figures: Figures = {}
    for suffix, cipher in ciphers.items():
        file = ground.folder(f"events{suffix}") / "events.db"
        for name, where in (("sqlite", file), ("postgres", ground.database(f"events{suffix}"))):
            figures |= await event_store.measure(
                where, f"{name}{suffix}", seconds=effort.append_seconds, cipher=cipher
            )
    return figures


async def _delivery(ground: Ground, effort: Effort) -> Figures:
    async with delivery.embedded(ground.folder("delivery")) as plane:
        embedded = await delivery.measure(plane, seconds=effort.delivery_seconds)
    async with delivery.distributed(ground.database("delivery"), ground.nats.url) as plane:
        distributed = await delivery.measure(plane, seconds=effort.delivery_seconds)
    return _flat({"embedded_publish_to_consumer": embedded, "distributed_publish_to_consumer": distributed})


async def _projections(ground: Ground, effort: Effort) -> Figures:
    measured = await projections.measure_projections(
        ground.folder("projections"), ground.database("projections"), smoke=effort.smoke
    )
    return _flat(measured)


async def _audit(ground: Ground, effort: Effort) -> Figures:
    async with audit_chain.embedded(ground.folder("audit")) as files:
        embedded = await audit_chain.measure_audit(
            files, events=effort.audit_events, records=effort.audit_records, runs=effort.audit_runs
        )
    url, folder = ground.database("audit"), ground.folder("audit-checkpoints")
    async with audit_chain.distributed(url, folder) as server:
        distributed = await audit_chain.measure_audit(
            server, events=effort.audit_events, records=effort.audit_records, runs=effort.audit_runs
        )
    return _named("sqlite_audit", asdict(embedded)) | _named("postgres_audit", asdict(distributed))


async def _workflows(ground: Ground, effort: Effort) -> Figures:
    measured = await workflows.measure_workflows(
        ground.folder("workflows"), ground.database("workflows"), effort.workflow_seconds
    )
    return _flat(measured)


PARTS = {
    "events": _event_store,
    "delivery": _delivery,
    "projections": _projections,
    "audit": _audit,
    "workflows": _workflows,
}


def _named(prefix: str, figures: Mapping[str, float]) -> Figures:
    return {f"{prefix}_{name}": float(value) for name, value in figures.items()}


def _flat(measured: Mapping[str, Mapping[str, float]]) -> Figures:
    return {name: value for where, figures in measured.items() for name, value in _named(where, figures).items()}


def _headlines(figures: Figures) -> Figures:
    """Return the figures that are known by short names: those of the embedded suite, where none is said."""
    short = {
        "sqlite_batched_events_per_s": f"sqlite_batched_events_per_s_at_{HEADLINE}",
        "postgres_batched_events_per_s": f"postgres_batched_events_per_s_at_{HEADLINE}",
        "publish_to_consumer_p99_ms": "embedded_publish_to_consumer_p99_ms",
        "audit_verify_records_per_s": "sqlite_audit_records_verified_per_s",
        "workflows_per_s": "sqlite_workflows_per_s",
        "steps_per_s": "sqlite_steps_per_s",
    }
    return {name: figures[long] for name, long in short.items() if long in figures}


def _print_table(figures: Figures) -> None:
    print(f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} processors")
    width = max(map(len, figures))
    for name, value in figures.items():
        print(f"{name:<{width}}  {value:>14,.1f}")


if __name__ == "__main__":
    main()
