"""Drift, inventory and policies over MCP, through the real hub, with AWS as moto plays it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.types import CallToolResult
from reference.answers import text_of, told
from reference.aws import running_aws
from reference.hub import running_hub
from reference.people import Person, client_with, make_key

from quantum_suite.core.infrastructure_events import INFRASTRUCTURE_EVENTS
from quantum_suite.hub.mounts import Extra
from quantum_suite.servers.module import Services
from quantum_suite.servers.qinfra import build
from quantum_suite.services.capacity.memory import MemoryCapacity
from quantum_suite.services.encryption.file import FileKeyProvider
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.infrastructure.opening import open_infrastructure
from quantum_suite.services.workspaces import Workspaces

pytestmark = pytest.mark.anyio

AWS_PROGRAM = """\
from quantum_suite.services.infrastructure.library import aws

aws.Bucket("store", encryption="none", tags={"owner": "shop", "environment": "test"})
"""

FILES_PROGRAM = """\
import pulumi
from quantum_suite.services.infrastructure.library import files

for name in ("a", "b", "c"):
    files.File(name, f"{name}.txt", f"this is {name}")
"""


@asynccontextmanager
async def asking(home: Path, program: str, environ: dict[str, str]) -> AsyncIterator[Client]:
    """Connect to a hub with QInfra behind it; whatever needs an approval gets it."""
    folder = home / "shop"
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    (folder / "__main__.py").write_text(program)
    infrastructure = open_infrastructure(
        home / "data" / "qinfra",
        FileKeyProvider(home / "keys.json"),
        environ=environ,
        granted="AWS_*",
    )
    events = MemoryEventStore(EventRegistry(INFRASTRUCTURE_EVENTS))
    services = Services(home / "data", Workspaces((folder,)), MemoryCapacity(1), events)
    services = replace(services, infrastructure=infrastructure)

    async with (
        running_hub(home, {}, extra=[Extra("qinfra", build(services).server, "qinfra")]) as hub,
        client_with(hub.url, make_key(home, "ann"), elicitation_callback=Person()) as client,
    ):
        yield client


async def asked(client: Client, tool: str, **arguments: Any) -> CallToolResult:
    return await client.call_tool(f"qinfra_{tool}", {"folder": ".", "stack": "dev", **arguments})


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    return told(await asked(client, tool, **arguments))


async def test_a_mandatory_policy_keeps_a_plan_from_being_applied(tmp_path: Path) -> None:
    async with asking(tmp_path, AWS_PROGRAM, {}) as client:
        plan = await call(client, "preview_stack")
        assert not plan["applicable"]
        assert {one["rule"] for one in plan["verdicts"] if one["level"] == "mandatory"} == {"s3-encryption"}

        refused = await asked(client, "apply_stack", plan_digest=plan["digest"])
        judged = await call(client, "check_policy", plan_digest=plan["digest"], packs=["quantum-aws"])
        of_the_state = await call(client, "check_policy")
        unknown = await asked(client, "check_policy", packs=["moon"])
        of_another = await asked(client, "check_policy", plan_digest=plan["digest"], stack="prod")

    assert refused.is_error
    assert "quantum-aws/s3-encryption" in text_of(refused)
    assert (judged["passes"], judged["judged"], judged["mandatory"], judged["resources"]) == (False, "plan", 1, 1)
    assert (of_the_state["passes"], of_the_state["judged"], of_the_state["resources"]) == (True, "state", 0)
    assert "There is no policy pack moon" in text_of(unknown)
    assert "for another stack" in text_of(of_another)


async def test_drift_is_found_and_undone(tmp_path: Path) -> None:
    async with asking(tmp_path, FILES_PROGRAM, {}) as client:
        folder = tmp_path / "shop"
        await apply(client)
        (folder / "a.txt").write_text("by hand")
        (folder / "b.txt").unlink()

        drift = await call(client, "detect_drift")
        wrong = await asked(client, "reconcile", plan_digest=drift["accept_digest"], direction="to_program")
        back = await call(client, "preview_stack", refresh=True)
        undone = await call(client, "reconcile", plan_digest=back["digest"], direction="to_program")
        managed = await call(client, "list_resources")

        seen = {
            (one["name"], one["kind"]): [change["path"] for change in one["changes"]] for one in drift["drift"]
        }
        assert seen == {("a", "changed"): ["content", "sha256"], ("b", "missing"): []}
        assert "preview_stack and refresh=true" in text_of(wrong)
        assert undone["done"] == {"update": 1, "create": 1}
        assert [(folder / f"{name}.txt").read_text() for name in "abc"] == [f"this is {name}" for name in "abc"]
        assert (managed["managed_total"], managed["unmanaged"]) == (3, None)


async def test_what_the_world_has_is_accepted_exactly_as_it_was_shown(tmp_path: Path) -> None:
    async with asking(tmp_path, FILES_PROGRAM, {}) as client:
        folder = tmp_path / "shop"
        await apply(client)
        (folder / "a.txt").write_text("by hand")
        shown = await call(client, "detect_drift")
        (folder / "c.txt").write_text("since then")

        late = await asked(client, "reconcile", plan_digest=shown["accept_digest"], direction="to_cloud")
        shown = await call(client, "detect_drift")
        await call(client, "reconcile", plan_digest=shown["accept_digest"], direction="to_cloud")
        after = await call(client, "detect_drift")

        assert late.is_error
        assert "not the one that was approved" in text_of(late)
        assert shown["drift_total"] == 2
        assert (after["in_sync"], after["drift"]) == (True, [])
        assert (folder / "a.txt").read_text() == "by hand"


async def apply(client: Client) -> None:
    plan = await call(client, "preview_stack")
    await call(client, "apply_stack", plan_digest=plan["digest"])


async def test_what_no_stack_knows_is_listed_apart_and_an_unknown_type_is_told(tmp_path: Path) -> None:
    with running_aws() as cloud:
        cloud.client("sqs").create_queue(QueueName="by-hand")
        async with asking(tmp_path, FILES_PROGRAM, cloud.environment) as client:
            listed = await call(client, "list_resources", unmanaged=True, types=["Bucket", "Queue"])
            wrong = await asked(client, "list_resources", unmanaged=True, types=["Moon"])

    assert (listed["managed_total"], listed["unmanaged"]["total"]) == (0, 1)
    assert [(one["type"], one["id"]) for one in listed["unmanaged"]["resources"]] == [("Queue", "by-hand")]
    assert "There is no type Moon" in text_of(wrong)
