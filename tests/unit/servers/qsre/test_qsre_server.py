"""The operations server as a whole: what it stands on, and that it starts without anything."""

from pathlib import Path

import pytest
from reference.services import services

from quantum_suite.servers.qsre import build
from quantum_suite.services import installed_engines
from quantum_suite.tools.qsre.engine_status import metric_engines


def test_what_it_stands_on_is_listed(tmp_path: Path) -> None:
    found = {engine.name: engine for engine in build(services(tmp_path)).engines()}
    for name in ("promql-parser", "matplotlib", "prometheus-api-client", "promtool"):
        assert found[name].available
    assert found["matplotlib"].version
    assert found["promtool"].location


def test_what_is_missing_comes_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> str:
        raise installed_engines.PackageNotFoundError(name)

    monkeypatch.setattr(installed_engines, "version", missing)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = {engine.name: engine for engine in metric_engines()}
    assert not any(engine.available for engine in found.values())
    assert "pip install 'quantum-suite[sre]'" in (found["matplotlib"].install_command or "")
    assert found["promtool"].install_command == "apt-get install prometheus"


def test_nothing_is_opened_before_a_tool_is_called(tmp_path: Path) -> None:
    build(services(tmp_path / "data"))
    assert not (tmp_path / "data" / "qsre" / "queries").exists()
