"""Writes rule files, and has promtool check them."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from shutil import which
from typing import Any

import anyio.to_thread
import orjson

from quantum_suite.core.errors import EngineError, EngineMissing
from quantum_suite.services.process import run
from quantum_suite.services.slo.durations import prometheus_duration
from quantum_suite.services.slo.interface import InvalidSlo, Problem, Slo
from quantum_suite.services.slo.rules import MadeGroup, RuleOptions, make_groups

PROMTOOL_INSTALL = "apt-get install prometheus"
_SECONDS = 30.0
_MOST_BYTES = 1024 * 1024
_BREAKS = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def write_rules(slos: Sequence[Slo], options: RuleOptions | None = None) -> str:
    """Return the rule file of some SLOs: YAML, the same for the same SLOs."""
    lines = ["# Made from SLOs by Quantum Suite. Change the SLO and make it again.", "groups:"]
    for slo in slos:
        for group in make_groups(slo, options):
            lines += _group_lines(group)
    return "\n".join(lines) + "\n"


def _group_lines(group: MadeGroup) -> list[str]:
    lines = [f"  - name: {quoted(group.name)}", "    rules:"]
    for rule in group.rules:
        lines.append(f"      - {rule.kind}: {quoted(rule.name)}")
        expr = rule.expr.strip()
        # What does not show, and a first line that is indented, is plainer in quotes.
        if "\n" in expr and expr.replace("\n", "").isprintable():
            lines += ["        expr: |", *(f"          {line}".rstrip() for line in expr.split("\n"))]
        else:
            lines.append(f"        expr: {quoted(expr)}")
        if rule.for_seconds:
            lines.append(f"        for: {prometheus_duration(rule.for_seconds)}")
        for key, values in (("labels", rule.labels), ("annotations", rule.annotations)):
            if values:
                lines.append(f"        {key}:")
                lines += [f"          {name}: {quoted(value)}" for name, value in sorted(values.items())]
    return lines


def quoted(text: str) -> str:
    """Return text in double quotes: JSON's strings are YAML's, but for breaks of lines that JSON does not know."""
    return orjson.dumps(text).decode().translate(_BREAKS)


async def check_rules(content: str) -> None:
    """Have promtool check a rule file. Raises EngineMissing, EngineError, and InvalidSlo with its words."""
    program = which("promtool")
    if program is None:
        raise EngineMissing(
            "promtool was not found, so the rules were not checked by it.",
            f"Install it: {PROMTOOL_INSTALL}",
            engine="promtool",
        )
    with tempfile.TemporaryDirectory(prefix="slo-rules-") as directory:
        file = Path(directory) / "rules.yml"
        await anyio.to_thread.run_sync(file.write_text, content)
        done = await run(
            [program, "check", "rules", str(file)], timeout_seconds=_SECONDS, max_output_bytes=_MOST_BYTES
        )
    if done.returncode == 0:
        return
    said = _words(done.stdout.decode(errors="replace") + "\n" + done.stderr_tail, str(file))
    if done.returncode < 0:
        raise EngineError("promtool was ended while it checked the rules.", said, engine="promtool", printed=said)
    raise InvalidSlo([Problem("rules", 1, "", f"promtool refuses the rules: {said}")])


def _words(printed: str, file: str) -> str:
    lines = [line.replace(file, "rules").strip() for line in printed.splitlines() if line.strip()]
    return " ".join(lines)[:2000]


def rules_as_data(slos: Sequence[Slo], options: RuleOptions | None = None) -> list[dict[str, Any]]:
    """Return the rules as plain data, for those who compare them."""
    return [
        {
            "group": group.name,
            "kind": rule.kind,
            "name": rule.name,
            "expr": rule.expr,
            "labels": dict(rule.labels),
            "annotations": dict(rule.annotations),
            "for": rule.for_seconds,
        }
        for slo in slos
        for group in make_groups(slo, options)
        for rule in group.rules
    ]
