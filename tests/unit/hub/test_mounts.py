"""What is mounted: modules of installed packages, entries of mcp.json, and how one overrides the other."""

from pathlib import Path
from typing import Any

import pytest
from mcp.server.mcpserver import MCPServer
from reference.services import services

from quantum_suite.core.errors import ConfigurationError
from quantum_suite.hub.config import UpstreamConfig
from quantum_suite.hub.mounts import Extra, Mounts
from quantum_suite.hub.settings import Limits
from quantum_suite.hub.upstreams.inprocess import InProcessConnector


def install(site: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: str) -> None:
    """Put a package with one entry point on the path, the way pip leaves it."""
    package = f"thirdparty_{name}"
    (site / f"{package}.py").write_text(code)
    info = site / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[quantum_suite.servers]\n{name} = {package}:build\n")
    monkeypatch.syspath_prepend(str(site))


def mounts(home: Path, *extra: Extra) -> Mounts:
    return Mounts(services(home), Limits(), extra)


def entry(name: str, **more: Any) -> UpstreamConfig:
    return UpstreamConfig(**{"name": name, "kind": "stdio", "prefix": name, "source": "mcp.json:1", **more})


def test_the_suites_own_modules_are_mounted_without_any_configuration(tmp_path) -> None:
    (qsecure,) = [config for config in mounts(tmp_path).configs((), None) if config.name == "qsecure"]
    assert (qsecure.kind, qsecure.prefix) == ("module", "qsecure")


def test_an_entry_of_the_same_name_decides_how_a_module_is_mounted(tmp_path) -> None:
    disabled = entry("qsecure", kind="module", module="qsecure", disabled=True)
    (qsecure,) = [config for config in mounts(tmp_path).configs([disabled], None) if config.name == "qsecure"]
    assert qsecure.disabled
    assert mounts(tmp_path).connect(qsecure) is None


def test_a_third_partys_server_is_mounted_by_its_entry_point(tmp_path, monkeypatch) -> None:
    code = "from mcp.server.mcpserver import MCPServer\ndef build():\n    return MCPServer('theirs')\n"
    install(tmp_path, monkeypatch, "theirs", code)
    mounted = mounts(tmp_path)
    (theirs,) = [config for config in mounted.configs((), None) if config.name == "theirs"]
    assert isinstance(mounted.connect(theirs), InProcessConnector)


def test_a_module_that_cannot_be_imported_is_named_with_the_reason(tmp_path, monkeypatch) -> None:
    install(tmp_path, monkeypatch, "broken", "import something_that_is_not_there\n")
    mounted = mounts(tmp_path)
    (broken,) = [config for config in mounted.configs((), None) if config.name == "broken"]
    with pytest.raises(ConfigurationError, match=r"'broken' cannot be loaded.*something_that_is_not_there"):
        mounted.connect(broken)


def test_a_module_that_is_not_installed_is_an_error_that_lists_those_that_are(tmp_path) -> None:
    with pytest.raises(ConfigurationError, match=r"'qnothing'.*qsecure"):
        mounts(tmp_path).connect(entry("qnothing", kind="module", module="qnothing"))


def test_one_module_alone_goes_by_its_own_plain_names(tmp_path) -> None:
    (only,) = mounts(tmp_path).configs([entry("other", command="true")], "qsecure")
    assert (only.name, only.prefix) == ("qsecure", "")


def test_asking_for_a_server_that_is_not_there_lists_those_that_are(tmp_path) -> None:
    with pytest.raises(ConfigurationError, match=r"no server 'nothing'.*qsecure"):
        mounts(tmp_path).configs((), "nothing")


def test_a_server_of_the_embedding_programs_own_comes_first(tmp_path) -> None:
    own = Extra("own", MCPServer("own"), "")
    configs = mounts(tmp_path, own).configs([entry("other", command="true")], None)
    assert (configs[0].name, configs[0].prefix) == ("own", "")
    assert configs[-1].name == "other"


def test_an_entry_with_a_problem_gets_no_connector(tmp_path) -> None:
    assert mounts(tmp_path).connect(entry("other", command="true", problem="${env:X} is not set")) is None
