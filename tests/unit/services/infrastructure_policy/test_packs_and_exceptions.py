"""A project's own packs and exceptions, and policies that are broken or hostile."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from quantum_suite.core.errors import CallerError, EngineError, EngineMissing
from quantum_suite.services.infrastructure.interface import Deployment, ResourceState
from quantum_suite.services.infrastructure.plan import Plan, PlannedStep
from quantum_suite.services.infrastructure_policy import rego
from quantum_suite.services.infrastructure_policy.packs import packs_of
from quantum_suite.services.infrastructure_policy.rego import RegoPolicyCheck

pytestmark = pytest.mark.anyio

URN = "urn:pulumi:dev::shop::pulumi-python:dynamic:Resource::door"
PACK = "name: own\npackage: own.rules\nrules:\n  red: {severity: high, enforcement: mandatory, title: It is red}\n"
RED = (
    "package own.rules\nimport rego.v1\nviolation contains "
    '{"rule": "red", "urn": r.urn, "message": sprintf("%s is red.", [r.name])} if {\n'
    '  some r in input.resources\n  r.properties.colour == "red"\n}\n'
)


def own_pack(folder: Path, rego_text: str = RED, pack: str = PACK, name: str = "own") -> None:
    place = folder / "policies" / name
    place.mkdir(parents=True)
    (place / "pack.yaml").write_text(pack)
    (place / "rules.rego").write_text(rego_text)


def plan(colour: str = "red", kind: Any = "update", operation: Any = "create") -> Plan:
    step = PlannedStep(
        urn=URN,
        type="pulumi-python:dynamic:Resource",
        name="door",
        operation=operation,
        inputs={"colour": colour},
    )
    return Plan(kind=kind, engine="e", project="shop", stack="dev", state_serial=1, steps=(step,))


def except_door(folder: Path, days: int, rule: str = "red") -> None:
    until = (datetime.now(UTC) + timedelta(days=days)).date()
    (folder / "policy-exceptions.yaml").write_text(
        f"exceptions:\n- {{rule: {rule}, resource: 'do*', reason: the old door stays, expires: {until}}}\n"
    )


async def test_a_projects_own_pack_judges_its_plans_beside_the_shipped_one(tmp_path: Path) -> None:
    own_pack(tmp_path)

    (verdict,) = await RegoPolicyCheck().check(plan(), tmp_path)

    assert (verdict.pack, verdict.rule, verdict.level, verdict.urn) == ("own", "red", "mandatory", URN)
    assert verdict.message == "door is red."
    assert await RegoPolicyCheck().check(plan("blue"), tmp_path) == []
    assert await RegoPolicyCheck().check(plan(operation="delete"), tmp_path) == []
    assert await RegoPolicyCheck().check(plan(kind="destroy"), tmp_path) == ()


async def test_a_stack_is_judged_by_its_state(tmp_path: Path) -> None:
    own_pack(tmp_path)
    door = ResourceState(URN, "pulumi-python:dynamic:Resource", custom=True, inputs={"colour": "red"})
    stack = ResourceState("urn:stack", "pulumi:pulumi:Stack")

    verdicts = await RegoPolicyCheck().check_state(Deployment("shop", "dev", 1, (stack, door)), tmp_path)

    assert [one.urn for one in verdicts] == [URN]


@pytest.mark.parametrize("rule", ["red", "own/red"])
async def test_an_exception_makes_a_verdict_an_advice_that_says_why_and_until_when(
    tmp_path: Path, rule: str
) -> None:
    own_pack(tmp_path)
    except_door(tmp_path, 3, rule)

    (verdict,) = await RegoPolicyCheck().check(plan(), tmp_path)

    assert verdict.level == "advisory"
    assert "Excepted until" in verdict.message
    assert "the old door stays" in verdict.message


async def test_an_expired_exception_and_one_of_another_rule_except_nothing(tmp_path: Path) -> None:
    own_pack(tmp_path)
    except_door(tmp_path, -1)
    (verdict,) = await RegoPolicyCheck().check(plan(), tmp_path)
    assert verdict.level == "mandatory"
    assert "expired" in verdict.message

    except_door(tmp_path, 9, "blue")
    (verdict,) = await RegoPolicyCheck().check(plan(), tmp_path)
    assert (verdict.level, verdict.message) == ("mandatory", "door is red.")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("exceptions: yes", "no list"),
        ("exceptions:\n- {rule: red, resource: a, reason: short, expires: 2030-01-01}\n", "entry 1: reason"),
        ("exceptions:\n- {rule: red, resource: a, reason: long enough words}\n", "entry 1: expires"),
        ("a: [", "no YAML"),
    ],
)
async def test_a_broken_exceptions_file_is_told_and_excepts_nothing(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "policy-exceptions.yaml").write_text(text)
    with pytest.raises(CallerError, match=told):
        await RegoPolicyCheck().check(plan(), tmp_path)


@pytest.mark.parametrize(
    ("pack", "text", "told"),
    [
        (PACK.replace("severity: high", "severity: awful"), RED, "severity"),
        (PACK.replace("name: own", "name: quantum-aws"), RED, "already"),
        ("rules: [", RED, "no YAML"),
    ],
)
async def test_a_broken_pack_is_told(tmp_path: Path, pack: str, text: str, told: str) -> None:
    own_pack(tmp_path, text, pack)
    with pytest.raises(CallerError, match=told):
        await RegoPolicyCheck().check(plan(), tmp_path)


async def test_a_pack_without_rego_is_told(tmp_path: Path) -> None:
    own_pack(tmp_path)
    (tmp_path / "policies" / "own" / "rules.rego").rename(tmp_path / "policies" / "own" / "rules_test.rego")
    with pytest.raises(CallerError, match=r"no \.rego"):
        packs_of(tmp_path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("package own.rules\nviolation contains", "policy pack own failed"),
        ("package elsewhere\nimport rego.v1\nviolation := {1}", "policy pack own failed"),
        (RED.replace('"rule": "red"', '"rule": "unheard"'), "does not describe"),
    ],
)
async def test_policies_that_cannot_judge_keep_a_plan_from_being_judged(
    tmp_path: Path, text: str, told: str
) -> None:
    own_pack(tmp_path, text)
    with pytest.raises(EngineError, match=told):
        await RegoPolicyCheck().check(plan(), tmp_path)


def counting(what: str) -> str:
    """Return a pack that goes through a thousand million combinations, or keeps them all."""
    return (
        "package own.rules\nimport rego.v1\nviolation contains "
        '{"rule": "red", "urn": "", "message": "x"} if {\n'
        "  n := " + what + "\n  n > 0\n}\n"
    )


EACH = "some a in numbers.range(1, 1000); some b in numbers.range(1, 1000); some c in numbers.range(1, 1000)"


@pytest.mark.parametrize(
    ("what", "told"),
    [
        (f"count([1 | {EACH}; a + b + c == 0])", "did not come to an end"),
        ("count(numbers.range(1, 30000000))", "MiB of memory"),
    ],
)
async def test_a_policy_that_does_not_end_or_takes_all_memory_is_ended(
    tmp_path: Path, what: str, told: str
) -> None:
    own_pack(tmp_path, counting(what))
    with pytest.raises(EngineError, match=told):
        await RegoPolicyCheck(seconds=6).check(plan(), tmp_path)


async def test_without_regopy_the_answer_is_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rego.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EngineMissing, match="regopy") as told:
        await RegoPolicyCheck().check(plan(), tmp_path)
    assert "pip install" in (told.value.hint or "")
