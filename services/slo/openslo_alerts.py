"""Reads what OpenSLO says of alerts: policies, their conditions, and who is told."""

from collections.abc import Sequence
from typing import Literal

from quantum_suite.services.slo.durations import read_shorthand
from quantum_suite.services.slo.fields import Fields, Problems
from quantum_suite.services.slo.interface import ConditionAlert
from quantum_suite.services.slo.openslo_objects import ROOT, OpenSloObjects, metadata_of, name_in, spec_of
from quantum_suite.services.yaml_nodes import Node

_OPERATORS: dict[str, Literal[">", ">="]] = {"gt": ">", "lt": ">", "gte": ">=", "lte": ">="}
"""The specification's own example has `lte` with a threshold of 2 mean "exceeds 2": the threshold is compared with
the burn rate, in that order. Nobody wants an alert for a slow burn, so every operator means a fast one."""


def read_policies(nodes: Sequence[Node], problems: Problems, objects: OpenSloObjects) -> list[ConditionAlert]:
    """Return the alerts that the policies of an SLO ask for; what is wrong is noted."""
    found: list[ConditionAlert] = []
    for node in nodes:
        policy = _resolve(node, "alertPolicyRef", "AlertPolicy", problems, objects)
        if policy is not None:
            found += _read_policy(policy, problems, objects)
    return found


def _resolve(node: Node, key: str, kind: str, problems: Problems, objects: OpenSloObjects) -> Node | None:
    """Return what a list of an SLO or policy holds: the object itself, or the one it refers to."""
    if isinstance(node.value, dict) and key in node.value:
        reference = Fields(node, problems, (key,)).get(key)
        return objects.find(kind, reference.written, reference, problems) if reference is not None else None
    if isinstance(node.value, dict):
        return node
    if isinstance(node.value, str):
        return objects.find(kind, node.value, node, problems)
    problems.add(node, f"This is no {kind}.", f"Give {key}, or the {kind} itself.")
    return None


def _read_policy(node: Node, problems: Problems, objects: OpenSloObjects) -> list[ConditionAlert]:
    fields = Fields(node, problems, ROOT)
    keys = (
        "description",
        "alertWhenNoData",
        "alertWhenResolved",
        "alertWhenBreaching",
        "conditions",
        "notificationTargets",
    )
    spec = Fields(spec_of(fields), problems, keys)
    targets = [
        name
        for each in spec.items("notificationTargets")
        if (target := _resolve(each, "targetRef", "AlertNotificationTarget", problems, objects)) is not None
        and (name := _target_name(target, problems))
    ]
    labels = {"notification_target": ",".join(targets)} if targets else {}
    conditions = spec.items("conditions")
    if not conditions:
        problems.add(spec.node, "This is missing.", "Give one condition, or conditionRef.", key="conditions")
    no_data = spec.flag("alertWhenNoData")
    spec.flag("alertWhenResolved")  # what is sent on is Alertmanager's to say
    breaching = spec.flag("alertWhenBreaching", default=not no_data)
    return [
        alert
        for each in conditions
        if (condition := _resolve(each, "conditionRef", "AlertCondition", problems, objects)) is not None
        and (alert := _read_condition(condition, problems, labels, breaching=breaching, no_data=no_data))
        is not None
    ]


def _target_name(node: Node, problems: Problems) -> str:
    fields = Fields(node, problems, ROOT)
    Fields(spec_of(fields), problems, ("target", "description")).text("target", "Say what it is, e.g. slack.")
    return metadata_of(fields, problems).name("name", "Name the target.")


def _read_condition(
    node: Node, problems: Problems, labels: dict[str, str], *, breaching: bool, no_data: bool
) -> ConditionAlert | None:
    fields = Fields(node, problems, ROOT)
    metadata_of(fields, problems).name("name", "Name the condition.")
    spec = Fields(spec_of(fields), problems, ("description", "severity", "condition"))
    severity = spec.text("severity", "Say how severe it is, e.g. page.")
    inner = spec.require("condition", "Give kind, op, threshold and lookbackWindow.")
    if inner is None:
        return None
    condition = Fields(inner, problems, ("kind", "op", "threshold", "lookbackWindow", "alertAfter"))
    condition.choice("kind", ("burnrate",), "burnrate")
    operator = condition.choice("op", tuple(_OPERATORS))
    condition.require("threshold", "Give a burn rate, e.g. 2.")
    threshold = condition.number("threshold")
    lookback = _duration(condition, "lookbackWindow", required=True)
    after = _duration(condition, "alertAfter", required=False)
    if operator is None or threshold is None or not lookback:
        return None
    if threshold <= 0:
        problems.add(inner, f"A burn rate of {threshold:g} is no threshold.", "Give more than 0.", key="threshold")
    description = spec.text("description")
    return ConditionAlert(
        name=name_in(node),
        severity=severity,
        operator=_OPERATORS[operator],
        threshold=threshold,
        lookback_seconds=lookback,
        after_seconds=after,
        when_breaching=breaching,
        when_no_data=no_data,
        labels=labels,
        annotations={"summary": description} if description else {},
    )


def _duration(fields: Fields, key: str, *, required: bool) -> float:
    text = fields.text(key, "Give a duration, e.g. 1h.") if required else fields.text(key)
    if not text or text == "0m":
        return 0.0
    read = read_shorthand(text)
    if read is None:
        fields.problems.add(fields.values[key], f"'{text[:40]}' is no duration.", "Write e.g. 5m, 1h, 3d.")
        return 0.0
    return read[2]
