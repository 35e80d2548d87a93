"""The digest: what is in it, what is not, and how a difference is named."""

import pytest

from quantum_suite.services.infrastructure.digest import differences, plan_digest
from quantum_suite.services.infrastructure.plan import Plan, PlannedStep, PolicyVerdict, Problem


def step(name: str, operation: str = "create", **more: object) -> PlannedStep:
    return PlannedStep(urn=f"urn:{name}", type="t", name=name, operation=operation, **more)  # type: ignore[arg-type]  # an operation


def plan(*steps: PlannedStep, **more: object) -> Plan:
    fields = {"kind": "update", "engine": "e", "project": "p", "stack": "s", "state_serial": 1, **more}
    return Plan(steps=steps, **fields)  # type: ignore[arg-type]  # fields of a plan


def test_what_decides_nothing_is_not_in_the_digest() -> None:
    first = plan(step("a"))
    judged = first.with_verdicts((PolicyVerdict(pack="p", rule="r", level="mandatory", message="m"),))
    assert plan_digest(first) == plan_digest(judged) == plan_digest(plan(step("a"), messages=("hello",)))
    assert first.applicable
    assert not judged.applicable
    assert not plan(problems=(Problem(code="c", message="m"),)).applicable


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (plan(step("a"), state_serial=2), "the state was written since (serial 1, now 2)"),
        (plan(step("a"), source_digest="x"), "the program's files have changed"),
        (plan(step("a"), config_digest="x"), "the configuration has changed"),
        (plan(step("a"), options={"refresh": True}), "the options are others ({}, now {'refresh': True})"),
        (plan(step("a"), kind="destroy"), "it was to update the stack, now to destroy it"),
        (plan(), "a (t) is no longer in the plan: it was to create"),
        (plan(step("a"), step("b", "delete")), "b (t) is new in the plan: delete"),
        (plan(step("a", "replace")), "a (t): it was to create, now it would replace"),
        (plan(step("a", inputs={"x": 1}, inputs_digest="1")), "a (t): its properties differ (x)"),
        (plan(step("a", inputs_digest="1")), "a (t): its properties differ (a secret)"),
        (plan(step("a", protected=True)), "a (t): its step differs"),
        (
            plan(step("a"), problems=(Problem(code="c", message="m"),)),
            "drift or problems are others than before",
        ),
    ],
)
def test_each_difference_is_named(other: Plan, named: str) -> None:
    first = plan(step("a"))
    assert plan_digest(first) != plan_digest(other)
    assert differences(first, other) == [named]


def test_many_differences_are_counted() -> None:
    told = differences(plan(), plan(*(step(f"r{number}") for number in range(20))))
    assert len(told) == 11
    assert told[-1] == "and 10 more"
    assert differences(plan(), plan()) == []
