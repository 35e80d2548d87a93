"""Whether the rules made of SLOs are those that sloth makes of them.

    git clone https://github.com/slok/sloth
    python bench/slo_rules.py --data sloth

Sloth ships examples with what it generates from them (`examples/`, `examples/_gen/`). Each example is read by the
suite and its rules are compared with sloth's own, one by one and in order: group, kind, name, labels, annotations,
and the expression, which one PromQL parser reads and prints for both before they are compared. Files that need
plugins of sloth (programs) or another dialect are refused by the suite, and named here with their rules.

`--smoke` takes a small file of its own, in both forms, which have to give the same rules.
With `--json` the last line is `{"figures": {...}}`.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import promql_parser
from ruamel.yaml import YAML

from quantum_suite.core.errors import EngineMissing
from quantum_suite.services.slo.interface import InvalidSlo
from quantum_suite.services.slo.loading import load_slos
from quantum_suite.services.slo.rule_file import check_rules, rules_as_data, write_rules
from quantum_suite.services.slo.rules import RuleOptions

SLOTH_FORM = """\
version: prometheus/v1
service: shop
slos:
  - name: availability
    objective: 99.5
    sli:
      events:
        error_query: sum(rate(shop_requests_total{code=~"5.."}[{{.window}}]))
        total_query: sum(rate(shop_requests_total[{{.window}}]))
    alerting:
      name: ShopAvailabilityBudgetBurn
      page_alert: {labels: {severity: page}}
      ticket_alert: {labels: {severity: ticket}}
"""
OPENSLO_FORM = """\
apiVersion: openslo/v1
kind: SLO
metadata: {name: availability}
spec:
  service: shop
  budgetingMethod: Occurrences
  timeWindow: [{duration: 30d, isRolling: true}]
  indicator:
    metadata: {name: availability}
    spec:
      ratioMetric:
        bad:
          metricSource:
            type: Prometheus
            spec: {query: 'sum(rate(shop_requests_total{code=~"5.."}[{{.window}}]))'}
        total:
          metricSource:
            type: Prometheus
            spec: {query: 'sum(rate(shop_requests_total[{{.window}}]))'}
  objectives: [{targetPercent: 99.5}]
"""


@dataclass(slots=True)
class Compared:
    """One file."""

    name: str
    rules: int
    equal: int = 0
    refused: str = ""
    differing: str = ""


def normal(expression: str) -> str:
    """Return an expression as one parser prints it."""
    return str(promql_parser.parse(expression).prettify())


def theirs(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rules of a generated file, of either kind."""
    for document in YAML(typ="safe", pure=True).load_all(path.read_text(encoding="utf-8")):
        if not document:
            continue
        for group in (document.get("spec") or document)["groups"]:
            for rule in group["rules"]:
                kind = "record" if "record" in rule else "alert"
                yield {
                    "group": group["name"],
                    "kind": kind,
                    "name": rule[kind],
                    "expr": rule["expr"],
                    "labels": {name: str(value) for name, value in (rule.get("labels") or {}).items()},
                    "annotations": dict(rule.get("annotations") or {}),
                    "for": 0.0,
                }


def options_of(rules: list[dict[str, Any]]) -> RuleOptions:
    """Return what was given to sloth beside the file: a label for all rules, and how it says it was run."""
    info = next(rule["labels"] for rule in rules if rule["name"] == "sloth_slo_info")
    return RuleOptions({"cmd": info["cmd"]}, info["sloth_version"], info["sloth_mode"])


def compare(example: Path, generated: Path) -> Compared:
    """Compare what the suite makes of an example with what sloth made of it."""
    expected = list(theirs(generated))
    result = Compared(example.name, len(expected))
    try:
        slos = load_slos(example.read_text(encoding="utf-8"), example.name)
    except InvalidSlo as error:
        result.refused = str(error.problems[0])
        return result
    made = rules_as_data(slos, options_of(expected))
    for ours, other in zip(made, expected, strict=False):
        if {**ours, "expr": normal(ours["expr"])} == {**other, "expr": normal(other["expr"])}:
            result.equal += 1
        elif not result.differing:
            result.differing = f"{ours}\n  !=\n  {other}"
    if len(made) != len(expected):
        result.differing = result.differing or f"{len(made)} rules for {len(expected)}"
    return result


async def promtool_accepts(texts: list[tuple[str, str]]) -> int | None:
    """Return how many rule files promtool takes; None where it is not installed."""
    taken = 0
    for name, text in texts:
        try:
            await check_rules(write_rules(load_slos(text, name)))
        except EngineMissing as missing:
            print(missing)
            return None
        except InvalidSlo as error:
            print(f"{name}: {error}")
            continue
        taken += 1
    return taken


def run_smoke() -> dict[str, Any]:
    """Compare the two forms of one SLO."""
    one, other = (rules_as_data(load_slos(text, "smoke")) for text in (SLOTH_FORM, OPENSLO_FORM))
    for rule in (*one, *other):
        rule["labels"].pop("sloth_spec", None)
        rule["expr"] = normal(rule["expr"])
    equal = sum(left == right for left, right in zip(one, other, strict=True))
    accepted = anyio.run(promtool_accepts, [("sloth", SLOTH_FORM), ("openslo", OPENSLO_FORM)])
    print(f"{equal} of {len(one)} rules are the same in both forms; promtool accepts {accepted} of 2 files.")
    return {"smoke_rules": len(one), "smoke_equal": equal, "smoke_accepted": accepted}


def run_data(data: Path) -> dict[str, Any]:
    """Compare every example that has a generated file."""
    examples = data / "examples"
    pairs = [(file, examples / "_gen" / file.name) for file in sorted(examples.glob("*.y*ml"))]
    pairs = [(file, generated) for file, generated in pairs if generated.is_file()]
    if not pairs:
        raise SystemExit(f"{data} holds no examples/_gen: give a checkout of github.com/slok/sloth.")
    found = [compare(*pair) for pair in pairs]
    for one in found:
        print(f"{one.name}: " + (f"refused: {one.refused}" if one.refused else f"{one.equal} of {one.rules}"))
        if one.differing:
            print(f"  {one.differing}")
    read = [one for one in found if not one.refused]
    texts = [(file.name, file.read_text(encoding="utf-8")) for file, _ in pairs]
    accepted = anyio.run(promtool_accepts, [pair for pair in texts if pair[0] in {one.name for one in read}])
    equal, rules = sum(one.equal for one in read), sum(one.rules for one in read)
    refused = [one.name for one in found if one.refused]
    print(f"{equal} of {rules} rules of {len(read)} files are equal; promtool accepts {accepted} of ours.")
    print(f"{len(refused)} files are refused: {', '.join(refused)}.")
    return {
        "files": len(read),
        "files_differing": sum(bool(one.differing) for one in read),
        "rules": rules,
        "equal": equal,
        "promtool_accepted": accepted,
        "files_refused": len(refused),
        "rules_refused": sum(one.rules for one in found if one.refused),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a checkout of github.com/slok/sloth")
    parser.add_argument("--smoke", action="store_true", help="a small file of its own; a second or two")
    parser.add_argument("--json", action="store_true", help="figures as JSON in the last line")
    arguments = parser.parse_args()
    if not arguments.smoke and arguments.data is None:
        parser.error("give --data, or --smoke")
    started = time.monotonic()
    figures = run_smoke() if arguments.smoke else run_data(arguments.data)
    figures["seconds"] = round(time.monotonic() - started, 2)
    if arguments.json:
        print(json.dumps({"figures": figures}))


if __name__ == "__main__":
    main()
