"""The examples of the page on AWS resources, drift and policies, run."""

import re
from pathlib import Path

import pytest

from quantum_suite.services.encryption.memory import MemoryKeyProvider
from quantum_suite.services.infrastructure.embedded.engine import EmbeddedEngine
from quantum_suite.services.infrastructure.interface import StackRef, StackRequest
from quantum_suite.services.infrastructure_policy.packs import shipped_pack
from quantum_suite.services.infrastructure_policy.rego import RegoPolicyCheck

pytestmark = pytest.mark.anyio

PAGE = (Path(__file__).parents[2] / "docs" / "drift-and-policy.md").read_text(encoding="utf-8")


def example(language: str, number: int = 0) -> str:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)[number]


async def test_the_program_is_planned_and_judged_by_the_pack_that_the_page_shows(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    (folder / "policies" / "house").mkdir(parents=True)
    (folder / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    (folder / "__main__.py").write_text(example("python"))
    (folder / "policies" / "house" / "pack.yaml").write_text(example("yaml"))
    (folder / "policies" / "house" / "names.rego").write_text(example("rego").replace("> 20", "> 4"))
    (folder / "policy-exceptions.yaml").write_text(example("yaml", 1))

    plan = await EmbeddedEngine(MemoryKeyProvider(), tmp_path / "states").preview(
        StackRequest(StackRef(folder, "dev"))
    )
    verdicts = await RegoPolicyCheck().check(plan, folder)

    assert (plan.counts, plan.problems) == ({"create": 7}, ())
    assert {one.urn.rpartition("::")[2] for one in verdicts if one.pack == "house"} == {"orders", "store"}
    assert not any(one.level == "mandatory" for one in verdicts)


def test_the_page_counts_the_rules_of_the_shipped_pack() -> None:
    assert f"has {len(shipped_pack().description.rules)} rules" in PAGE
