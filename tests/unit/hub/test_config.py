"""mcp.json is read in the forms clients write, and its mistakes are told apart: the file's, or one entry's."""

import json
from pathlib import Path
from typing import Any

import pytest

from quantum_suite.core.errors import ConfigurationError
from quantum_suite.hub.config import Config, UpstreamConfig, read_config

ROOT = Path(__file__).resolve().parents[3]


def read(folder: Path, content: Any, environ: dict[str, str] | None = None) -> Config:
    path = folder / "mcp.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return read_config(path, environ=environ or {})


def only(folder: Path, entry: dict[str, Any], environ: dict[str, str] | None = None) -> UpstreamConfig:
    (upstream,) = read(folder, {"mcpServers": {"one": entry}}, environ).upstreams
    return upstream


def test_the_projects_own_file_mounts_qsecure_in_process() -> None:
    (upstream,) = read_config(ROOT / "mcp.json").upstreams
    assert (upstream.name, upstream.kind, upstream.module) == ("qsecure", "module", "qsecure")
    assert upstream.problem is None


def test_both_published_forms_are_read_from_one_file(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        """{
          // what Claude Desktop writes
          "mcpServers": {"time": {"command": "mcp-server-time", "args": ["--local"],}},
          /* what VS Code writes */
          "servers": {"web": {"type": "http", "url": "https://example.org/mcp"},
                      "in": {"type": "stdio", "command": "x"}},
        }""",
    )
    assert [(u.name, u.kind) for u in config.upstreams] == [("time", "stdio"), ("web", "http"), ("in", "stdio")]
    assert config.upstreams[0].args == ("--local",)
    assert config.upstreams[0].source == f"{config.path}:3"


def test_defaults_are_those_of_the_manual(tmp_path: Path) -> None:
    upstream = only(tmp_path, {"command": "x"})
    assert (upstream.prefix, upstream.max_children, upstream.idle_seconds) == ("one", 4, 300)
    assert (upstream.deadline_seconds, upstream.disabled) == (None, False)


def test_the_suites_own_key_is_read(tmp_path: Path) -> None:
    upstream = only(
        tmp_path,
        {
            "url": "https://example.org/mcp",
            "quantum": {
                "prefix": "",
                "disabled": True,
                "deadlineSeconds": 5,
                "maxChildren": 2,
                "idleSeconds": 10.5,
                "longRunning": ["build", "scan"],
                "credentials": {"key:ann": {"Authorization": "Bearer ${env:ANN}"}},
            },
        },
        {"ANN": "a-secret"},
    )
    assert (upstream.prefix, upstream.disabled, upstream.deadline_seconds) == ("", True, 5)
    assert (upstream.max_children, upstream.idle_seconds) == (2, 10.5)
    assert upstream.long_running == ("build", "scan")
    assert upstream.credentials == {"key:ann": {"Authorization": "Bearer a-secret"}}


def test_an_entry_other_clients_switched_off_is_off_here_too(tmp_path: Path) -> None:
    assert only(tmp_path, {"command": "x", "disabled": True}).disabled


def test_variables_are_replaced_everywhere(tmp_path: Path) -> None:
    environ = {"BIN": "/opt/bin", "TOKEN": "t", "EMPTY": ""}
    stdio = only(
        tmp_path,
        {
            "command": "${env:BIN}/server",
            "args": [
                "--token=${TOKEN}",
                "${env:MODE:-fast}",
                "${workspaceFolder}",
                "${LEVEL:-info}",
                "${env:EMPTY}",
            ],
            "env": {"A": "${env:TOKEN}${env:TOKEN}", "N": 1, "B": True, "GONE": None},
            "cwd": "sub",
        },
        environ,
    )
    assert stdio.command == "/opt/bin/server"
    assert stdio.args == ("--token=t", "fast", str(tmp_path), "info", "")
    assert stdio.env == {"A": "tt", "N": "1", "B": "true"}
    assert stdio.cwd == str(tmp_path / "sub")


def test_a_value_with_a_variable_in_it_is_taken_as_it_is(tmp_path: Path) -> None:
    assert only(tmp_path, {"command": "${env:A}"}, {"A": "${env:B}"}).command == "${env:B}"


def test_an_unset_variable_degrades_its_entry_alone(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        {"mcpServers": {"a": {"url": "https://x/mcp", "headers": {"X-Key": "${env:NO}"}}, "b": {"command": "y"}}},
    )
    bad, good = config.upstreams
    assert bad.problem is not None
    assert "headers.X-Key" in bad.problem
    assert "NO is not set" in bad.problem
    assert good.problem is None


def test_vscodes_folder_variable_means_the_folder_around_dot_vscode(tmp_path: Path) -> None:
    (tmp_path / ".vscode").mkdir()
    upstream = only(tmp_path / ".vscode", {"command": "x", "args": ["${workspaceFolder}/a"]})
    assert upstream.args == (f"{tmp_path}/a",)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"type": "sse", "url": "https://x/sse"}, "Streamable HTTP"),
        ({"type": "carrier-pigeon", "command": "x"}, "carrier-pigeon"),
        ({"type": "stdio", "url": "https://x"}, "does not go with 'url'"),
        ({"type": "http", "command": "x"}, "does not go with 'command'"),
        ({}, "either 'command'"),
        ({"command": "x", "url": "https://x"}, "either 'command'"),
        ({"command": "x", "args": "--flag"}, "args:"),
        ({"command": ""}, "command:"),
        ({"command": "x", "headers": {"a": "b"}}, "pass secrets to a program by 'env'"),
        ({"url": "ftp://x"}, "http://"),
        ({"command": "${input:key}"}, "asks the person"),
        ({"command": "${config:key}"}, "not known here"),
        ({"command": "x", "quantum": {"maxChildren": 0}}, "quantum.maxChildren"),
        ({"command": "x", "quantum": {"prefix": "No Spaces"}}, "quantum.prefix"),
        ({"command": "/usr/bin/quantum", "args": ["stdio"]}, "itself"),
        ("x", "the entry"),
    ],
)
def test_a_mistake_in_an_entry_is_explained_and_stays_there(tmp_path: Path, entry: Any, says: str) -> None:
    config = read(tmp_path, {"mcpServers": {"bad": entry, "good": {"command": "y"}}})
    bad, good = config.upstreams
    assert bad.problem is not None
    assert says in bad.problem
    assert bad.problem.startswith(f"{config.path}:1: ")
    assert good.problem is None


def test_what_is_read_over_is_said(tmp_path: Path) -> None:
    config = read(
        tmp_path, {"mcpServers": {"a": {"command": "x", "autoApprove": ["y"], "quantum": {"colour": "red"}}}}
    )
    assert [warning.split(": ", 1)[1] for warning in config.warnings] == [
        "'autoApprove' of a is not used here.",
        "'quantum.colour' of a is not used here.",
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"mcpServers": {"a": {"command": "x"}\n', "line 2, column 1"),
        ("[]", "object is expected"),
        ('{"mcpServers": []}', "line 1, column 16"),
        ('{"tools": {}}', "neither 'mcpServers' nor 'servers'"),
        ('{"mcpServers": {"Time": {"command": "x"},\n "time": {"command": "y"}}}', "line 2, column 2: 'time'"),
        ('{"mcpServers": {"my server": {"command": "x"}}}', "cannot name a server"),
        ('{"mcpServers": {"' + "a" * 33 + '": {"command": "x"}}}', "cannot name a server"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, text)
    assert says in caught.value.message
    assert "mcp.json" in caught.value.message
    assert caught.value.hint


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        read_config(tmp_path / "none.json")
    with pytest.raises(ConfigurationError, match="is a directory"):
        read_config(tmp_path)
    (tmp_path / "latin.json").write_bytes(b'{"mcpServers": {"caf\xe9": {}}}')
    with pytest.raises(ConfigurationError, match="byte 20 is not UTF-8"):
        read_config(tmp_path / "latin.json")


def test_an_empty_object_fronts_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, "{}").upstreams == ()


def test_an_entry_is_equal_until_something_about_it_changes(tmp_path: Path) -> None:
    entry = {"command": "x", "env": {"A": "${env:A}"}}
    before = only(tmp_path, entry, {"A": "1"})
    assert only(tmp_path, entry, {"A": "1"}) == before
    assert only(tmp_path, entry, {"A": "2"}) != before


def test_the_text_form_shows_no_secret(tmp_path: Path) -> None:
    upstream = only(
        tmp_path,
        {
            "url": "https://u:p4ss@example.org/mcp?key=qu3ry",
            "headers": {"X-Plain": "h3ader"},
            "quantum": {"credentials": {"key:ann": {"A": "cr3d"}}},
        },
    )
    stdio = only(tmp_path, {"command": "x", "args": ["--token", "4rg"], "env": {"A": "3nv"}})
    shown = f"{upstream!r} {upstream} {stdio!r}"
    assert not [secret for secret in ("p4ss", "qu3ry", "h3ader", "cr3d", "4rg", "3nv") if secret in shown]
    assert "X-Plain" in shown
    assert "key:ann" in shown


def test_the_command_of_a_module_with_other_arguments_is_a_child_like_any_other(tmp_path: Path) -> None:
    assert only(tmp_path, {"command": "quantum", "args": ["serve", "qsecure", "--stdio"]}).kind == "module"
    assert only(tmp_path, {"command": "/x/quantum", "args": ["serve", "qsecure", "--stdio"]}).module == "qsecure"
    assert only(tmp_path, {"command": "quantum", "args": ["serve", "qsecure", "--stdio", "-v"]}).kind == "stdio"
    assert only(tmp_path, {"command": "other", "args": ["serve", "qsecure", "--stdio"]}).kind == "stdio"
