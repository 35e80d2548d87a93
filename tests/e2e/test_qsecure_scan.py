"""Scans with the real engines: what is found, what never shows, what is left behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import jsonschema
import psutil
import pytest
from mcp import Client
from mcp_types import TextContent
from planted.repositories import Planted, plant
from reference.services import event_log, services

from quantum_suite.core.principals import LOCAL
from quantum_suite.core.scans import SCANNERS, ScanRequest
from quantum_suite.servers.qsecure import build
from quantum_suite.services.capacity.memory import MemoryCapacity
from quantum_suite.services.code_scanning.ruff_security import RuffSecurityEngine
from quantum_suite.services.code_scanning.rule_book import RuleBook
from quantum_suite.services.code_scanning.trivy import TrivyEngine
from quantum_suite.services.scans.interface import FindingQuery
from quantum_suite.services.scans.sqlite import SqliteScanStore
from quantum_suite.tools.qsecure.scan_repository import RepositoryScanner
from quantum_suite.tools.qsecure.select_files import ScanLimits

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]

SARIF = json.loads((Path(__file__).parent.parent / "data" / "sarif-2.1.0.json").read_text("utf-8"))


@pytest.fixture
def planted(tmp_path: Path) -> Planted:
    return plant(tmp_path / "repo")


def a_scanner(data: Path, part_files: int) -> tuple[RepositoryScanner, SqliteScanStore]:
    store, rules = SqliteScanStore(data), RuleBook()
    engines = (TrivyEngine(rules, data / "trivy"), RuffSecurityEngine(rules))
    return RepositoryScanner(
        engines, store, data / "work", MemoryCapacity(1), event_log(), ScanLimits(part_files=part_files)
    ), store


def engines_running(below: int) -> list[psutil.Process]:
    found = []
    for process in psutil.Process(below).children(recursive=True):
        try:
            if process.name() in ("trivy", "ruff") and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def running_below(directory: Path) -> list[int]:
    """Return the processes that work in `directory`, whoever started them."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(directory):
                found.append(process.pid)
        except (psutil.Error, OSError):
            continue
    return found


async def scanned(client: Client, **arguments: Any) -> tuple[dict[str, Any], str]:
    result = await client.call_tool("scan_repository", {"path": ".", **arguments})
    assert not result.is_error
    assert result.structured_content is not None
    return result.structured_content, "\n".join(b.text for b in result.content if isinstance(b, TextContent))


async def test_everything_planted_is_found_and_no_secret_shows_anywhere(
    tmp_path: Path, planted: Planted, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    data = tmp_path / "data"
    module = build(services(data, planted.root))
    shown: list[str] = []
    async with Client(module.server) as client:
        answer, text = await scanned(client)
        shown += [json.dumps(answer), text]
        listed = await client.call_tool("list_findings", {"scan": answer["scan"], "limit": 100})
        assert listed.structured_content is not None
        shown.append(json.dumps(listed.structured_content))
        for finding in listed.structured_content["findings"]:
            explained = await client.call_tool(
                "explain_finding", {"finding": finding["fingerprint"], "scan": answer["scan"]}
            )
            shown.append(json.dumps(explained.model_dump(mode="json")))
        scan_uri = f"quantum://qsecure/scans/{answer['scan']}"
        for uri in (scan_uri, answer["sarif"], answer["markdown"]):
            (content,) = (await client.read_resource(uri)).contents
            shown.append(content.model_dump_json())
            if uri == answer["sarif"]:
                jsonschema.Draft4Validator(SARIF).validate(json.loads(content.model_dump()["text"]))

    found = {(f["rule_id"], f["location"]["path"]) for f in listed.structured_content["findings"]}
    assert {
        ("aws-access-key-id", "src/app.py"),
        ("S105", "src/app.py"),
        ("S602", "src/app.py"),
        ("S324", "src/app.py"),
        ("github-pat", "deploy.env"),
        ("github-pat", "tests/test_app.py"),
        ("private-key", "server.pem"),
        ("DS-0002", "Dockerfile"),
        ("DS-0031", "Dockerfile"),
        ("AWS-0107", "infra/main.tf"),
    } <= found
    merged = next(f for f in listed.structured_content["findings"] if f["location"]["path"] == "tests/test_app.py")
    assert (merged["engines"], merged["other_rules"]) == (["trivy", "ruff"], ["S105"])
    assert answer["suppressed"] == 1
    gaps = {item["what"]: item["examples"] for item in answer["not_assessed"]}
    assert gaps["Python source with bad syntax"] == ["src/broken.py"]
    assert gaps["Binary files"] == ["logo.bin"]
    assert "Known vulnerabilities in dependencies" in gaps

    stored = [path.read_bytes() for path in data.rglob("*") if path.is_file()]
    for secret in planted.secrets:
        assert not any(secret in text for text in (*shown, caplog.text))
        assert not any(secret.encode() in content for content in stored)
    assert list((data / "qsecure" / "work").iterdir()) == []


async def test_both_eras_get_the_same_findings(tmp_path: Path, planted: Planted) -> None:
    module = build(services(tmp_path / "data", planted.root))
    async with Client(module.server, mode="auto") as modern, Client(module.server, mode="legacy") as handshake:
        first, _ = await scanned(modern, paths=["src", "deploy.env"])
        second, _ = await scanned(handshake, paths=["src", "deploy.env"])
    assert [f["fingerprint"] for f in first["worst"]] == [f["fingerprint"] for f in second["worst"]]
    assert first["counts"] == second["counts"]


async def test_fingerprints_survive_edits_around_what_they_name(tmp_path: Path, planted: Planted) -> None:
    module = build(services(tmp_path / "data", planted.root))
    source = planted.root / "src" / "app.py"
    async with Client(module.server) as client:
        before, _ = await scanned(client, paths=["src"])
        source.write_text(
            "# a new first line\n\n" + source.read_text().replace("import hashlib", "import  hashlib")
        )
        after, _ = await scanned(client, paths=["src"])
    assert {f["fingerprint"] for f in before["worst"]} == {f["fingerprint"] for f in after["worst"]}
    assert [f["location"] for f in before["worst"]] != [f["location"] for f in after["worst"]]


async def test_odd_names_and_broken_text_neither_stop_a_scan_nor_get_lost(
    tmp_path: Path, planted: Planted
) -> None:
    (planted.root / "new\nline.py").write_text("eval(x)\n")
    (planted.root / os.fsdecode(b"caf\xe9.py")).write_bytes(b"eval(x)\n")
    (planted.root / "latin.py").write_bytes("# -*- coding: latin-1 -*-\nx = 'é'; eval(x)\n".encode("latin-1"))
    (planted.root / "-option.py").write_text("eval(x)\r\n")
    (planted.root / "empty.py").write_text("")
    module = build(services(tmp_path / "data", planted.root))
    async with Client(module.server) as client:
        answer, _ = await scanned(client)
        listed = await client.call_tool("list_findings", {"scan": answer["scan"], "rule": "S307"})
    assert listed.structured_content is not None
    places = {finding["location"]["path"] for finding in listed.structured_content["findings"]}
    assert places == {"new\nline.py", "caf\\xe9.py", "latin.py", "-option.py"}


async def test_a_cancelled_scan_leaves_no_process_and_no_copy(tmp_path: Path, planted: Planted) -> None:
    data = tmp_path / "data"
    scanner, store = a_scanner(data, part_files=100)
    request = ScanRequest(root=str(planted.root), scanners=SCANNERS)

    async def silent(done: int, total: int, message: str) -> None:
        """Nothing to say."""

    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(scanner.scan, request, LOCAL, silent)
            # Loading the checks takes most of a second: there is time to catch the engine at work.
            while not engines_running(os.getpid()):
                await anyio.sleep(0.01)
            group.cancel_scope.cancel()
    assert engines_running(os.getpid()) == []
    assert list((data / "work").iterdir()) == []
    (record,) = await store.latest("local", 5)
    assert record.state == "interrupted"
    finished = await scanner.scan(request, LOCAL, silent, record.id)
    assert finished.state == "completed"
    assert finished.counts.critical > 0


_SCAN_IN_PARTS = """
import sys, anyio
from pathlib import Path
from test_qsecure_scan import a_scanner
from quantum_suite.core.principals import LOCAL
from quantum_suite.core.scans import SCANNERS, ScanRequest

async def main():
    scanner, _ = a_scanner(Path(sys.argv[2]), part_files=4)
    async def progress(done, total, message):
        print(done, flush=True)
    await scanner.scan(ScanRequest(root=sys.argv[1], scanners=SCANNERS), LOCAL, progress)

anyio.run(main)
"""


async def test_a_killed_scan_resumes_with_the_parts_that_were_not_stored(tmp_path: Path, planted: Planted) -> None:
    for number in range(24):
        (planted.root / "src" / f"more_{number:02}.py").write_text(f"import pickle\npickle.loads(x{number})\n")
    data = tmp_path / "data"
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", _SCAN_IN_PARTS, str(planted.root), str(data)]
    paths = os.pathsep.join([here, str(Path(here).parent)])
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": paths})
    try:
        assert child.stdout is not None
        done = 0
        while done < 6:
            line = await anyio.to_thread.run_sync(child.stdout.readline)
            assert line, "the scan ended before it could be killed"
            done = int(line)
        os.kill(child.pid, signal.SIGKILL)
    finally:
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()

    with anyio.fail_after(25):
        while running_below(data):
            await anyio.sleep(0.05)
    scanner, store = a_scanner(data, part_files=4)
    (record,) = await store.latest("local", 5)
    assert record.state == "interrupted"
    kept = await store.stamps(record.id)
    assert len(kept) >= done
    heard: list[int] = []

    async def progress(done: int, total: int, message: str) -> None:
        heard.append(done)

    finished = await scanner.scan(record.request, LOCAL, progress, record.id)
    assert heard[0] == len(kept)
    assert (finished.state, finished.files_done) == ("completed", finished.files_total)
    whole, fresh = a_scanner(tmp_path / "fresh", part_files=4)
    unbroken = await whole.scan(record.request, LOCAL, progress)
    assert finished.counts == unbroken.counts
    query = FindingQuery(suppressed=None)
    resumed = await store.findings(finished.id, query, limit=1000)
    complete = await fresh.findings(unbroken.id, query, limit=1000)
    assert resumed.findings == complete.findings
    assert list((data / "work").iterdir()) == []
