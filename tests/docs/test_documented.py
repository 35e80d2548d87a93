"""Nothing a person can set, type or see at the end is undocumented."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from docs.pages import ROOT

from quantum_suite.hub.call import ERROR_CODES, SUPPORTED_VERSIONS
from quantum_suite.hub.cli.exits import ExitCode
from quantum_suite.hub.cli.main import build_app
from quantum_suite.hub.config import EntryOptions
from quantum_suite.hub.metrics import Metrics
from quantum_suite.hub.settings import HubSettings, Limits
from quantum_suite.services.audit.interface import AuditRecord

CONFIGURATION = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
INDEX = (ROOT / "docs/README.md").read_text(encoding="utf-8")
OPERATING = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
PROTOCOL = (ROOT / "docs/protocol.md").read_text(encoding="utf-8")
CLI = (ROOT / "docs/cli.md").read_text(encoding="utf-8")


def row(text: str, name: str) -> str:
    found = re.search(rf"^\| `{re.escape(name)}` \|.*$", text, re.MULTILINE)
    assert found is not None, f"{name} has no row in the manual"
    return found[0]


@pytest.mark.parametrize("name", [name for name in HubSettings.model_fields if name != "limits"])
def test_every_setting_is_documented(name: str) -> None:
    shown = row(CONFIGURATION, f"QUANTUM_{name.upper()}")
    default = HubSettings.model_fields[name].default
    if isinstance(default, str | int | bool):
        assert f"| `{str(default).lower()}` |" in shown


@pytest.mark.parametrize("name", list(Limits.model_fields))
def test_every_limit_is_documented_with_its_default(name: str) -> None:
    assert f"| `{Limits.model_fields[name].default}` |" in row(CONFIGURATION, f"QUANTUM_LIMITS_{name.upper()}")


@pytest.mark.parametrize("name", list(EntryOptions.model_fields))
def test_every_option_of_an_entry_is_documented(name: str) -> None:
    default = EntryOptions.model_fields[name].default
    shown = row(CONFIGURATION, name)
    if isinstance(default, int | float):
        assert f"| `{str(default).lower()}` |" in shown


def commands() -> list[str]:
    found: list[str] = []

    def walk(command: object, path: str) -> None:
        found.append(path)
        for name, inner in getattr(command, "commands", {}).items():
            walk(inner, f"{path} {name}".strip())

    walk(typer.main.get_command(build_app()), "")
    return [path for path in found if path]


@pytest.mark.parametrize("command", commands())
def test_every_command_is_documented_with_its_help(command: str) -> None:
    assert f"\n### `quantum {command}`\n" in CLI
    assert f"<!-- quantum {command} --help -->" in CLI


@pytest.mark.parametrize("code", list(ExitCode))
def test_every_exit_code_is_documented(code: ExitCode) -> None:
    assert f"| {code.value} | {code.meaning} |" in CLI


def test_the_help_shown_in_the_manual_is_the_help_printed() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs/help_blocks.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("code", sorted(ERROR_CODES))
def test_every_error_code_is_documented(code: int) -> None:
    rows = [line.split("|")[1] for line in PROTOCOL.splitlines() if line.startswith("| -32")]
    assert str(code) in ", ".join(rows).replace(" ", "").split(",")


@pytest.mark.parametrize("revision", SUPPORTED_VERSIONS)
def test_every_revision_is_documented(revision: str) -> None:
    assert f"`{revision}`" in PROTOCOL


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(AuditRecord)])
def test_every_field_of_an_audit_record_is_documented(name: str) -> None:
    first = [line.split("|")[1] for line in OPERATING.splitlines() if line.startswith("| `")]
    assert f"`{name}`" in " ".join(first)


def test_every_metric_is_documented() -> None:
    shown = Metrics(list).registry.collect()
    for metric in shown:
        assert f"`{metric.name}" in OPERATING


@pytest.mark.parametrize("page", [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs/decisions").glob("*.md")])
def test_every_page_can_be_found_from_the_index(page: Path) -> None:
    name = str(page.relative_to(ROOT / "docs"))
    assert name == "README.md" or f"]({name})" in INDEX


@pytest.mark.parametrize(
    ("category", "cwe"),
    [
        ("weak hash", 328),
        ("SQL injection", 89),
        ("weak random numbers", 330),
        ("deserialisation", 502),
        ("code injection", 94),
        ("command injection", 78),
        ("XML external entities", 611),
    ],
)
def test_the_readme_quotes_the_accuracy_that_was_measured(category: str, cwe: int) -> None:
    measured = json.loads((ROOT / "services/code_scanning/rules/accuracy.json").read_text(encoding="utf-8"))
    (row,) = [row for row in measured["results"] if row["cwe"] == cwe]
    found = row["true_positives"] / (row["true_positives"] + row["false_negatives"])
    false = row["false_positives"] / (row["false_positives"] + row["true_negatives"])
    assert f"| {category} | {found:.0%} | {false:.0%} |" in README
    assert measured["measured_on"] in README
    assert measured["command"] in README


def test_the_readme_quotes_the_benchmark_that_is_kept() -> None:
    kept = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
    (quoted,) = re.findall(r"<!-- bench: begin -->(.*)<!-- bench: end -->", README, re.DOTALL)
    rows = [[cell.strip(" *") for cell in line.split("|")[2:5]] for line in quoted.splitlines() if " MB |" in line]
    assert len(rows) > 3
    for cpu, ready, idle in rows:
        assert re.search(rf"\b{re.escape(cpu)}\b", kept)
        assert re.search(rf"\| {re.escape(ready.removesuffix(' s'))} \| {idle.removesuffix(' MB')} \|", kept)
    (date,) = re.findall(r"\d{4}-\d\d-\d\d", quoted)
    assert date in kept


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").glob("*.md"))),
    ],
)
def test_links_inside_the_manual_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]*)", text):
        if target:
            assert ((ROOT / page).parent / target).exists(), f"{page} links to {target}"
