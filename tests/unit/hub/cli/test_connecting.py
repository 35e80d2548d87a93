"""`quantum connect` writes one entry into an assistant's file, and can take it back."""

import json
import sys
from pathlib import Path

import pytest
from commandline.running import Quantum

from quantum_suite.hub.cli.assistants import ASSISTANTS, AssistantName, Machine, Scope
from quantum_suite.hub.cli.exits import ExitCode
from quantum_suite.hub.jsonc import parse

COMMENTED = """{
  // the clock
  "mcpServers": {
    "time": { "command": "mcp-server-time" }, // stays
  },
  "theme": "dark"
}
"""


def entry_in(path: Path, form: str = "mcpServers") -> dict[str, object]:
    entry = parse(path.read_text()).plain()[form]["quantum"]
    assert isinstance(entry, dict)
    return entry


@pytest.mark.parametrize(
    ("name", "scope", "platform", "where"),
    [
        ("claude-desktop", "user", "darwin", "/h/Library/Application Support/Claude/claude_desktop_config.json"),
        ("claude-desktop", "user", "win32", "/h/Roaming/Claude/claude_desktop_config.json"),
        ("claude-desktop", "user", "linux", "/h/.config/Claude/claude_desktop_config.json"),
        ("claude-code", "user", "linux", "/h/.claude.json"),
        ("claude-code", "project", "linux", "/p/.mcp.json"),
        ("vscode", "user", "darwin", "/h/Library/Application Support/Code/User/mcp.json"),
        ("vscode", "user", "win32", "/h/Roaming/Code/User/mcp.json"),
        ("vscode", "user", "linux", "/h/.config/Code/User/mcp.json"),
        ("vscode", "project", "linux", "/p/.vscode/mcp.json"),
        ("cursor", "user", "linux", "/h/.cursor/mcp.json"),
        ("cursor", "project", "linux", "/p/.cursor/mcp.json"),
    ],
)
def test_every_assistants_file_is_where_its_manual_says(name: str, scope: str, platform: str, where: str) -> None:
    machine = Machine(platform, Path("/h"), {"APPDATA": "/h/Roaming"}, Path("/p"))
    assert ASSISTANTS[AssistantName(name)].path(Scope(scope), machine) == Path(where)


def test_claude_codes_own_variable_moves_its_file() -> None:
    machine = Machine("linux", Path("/h"), {"CLAUDE_CONFIG_DIR": "/c"}, Path("/p"))
    assert ASSISTANTS[AssistantName.CLAUDE_CODE].path(Scope.USER, machine) == Path("/c/.claude.json")


def test_a_new_file_is_written_and_undo_removes_it(quantum: Quantum, home: Path) -> None:
    path = home / ".config/Claude/claude_desktop_config.json"
    ran = quantum("connect", "claude-desktop")
    assert ran.code == 0
    assert '+    "quantum": {' in ran.out
    entry = entry_in(path)
    assert entry["args"][-3:] == ["stdio", "--workspace", str(home)]  # type: ignore[index] # JSON from the file
    assert Path(str(entry["command"])).is_absolute()
    assert quantum("connect", "claude-desktop", "--undo").code == 0
    assert not path.exists()
    assert "Nothing to undo" in quantum("connect", "claude-desktop", "--undo").err


def test_the_command_that_is_written_starts(quantum: Quantum, home: Path) -> None:
    quantum("connect", "cursor")
    entry = entry_in(home / ".cursor/mcp.json")
    program = Path(str(entry["command"]))
    assert program.exists()
    assert program.parent == Path(sys.executable).parent


def test_everything_else_in_the_file_stays(quantum: Quantum, home: Path) -> None:
    path = home / ".cursor/mcp.json"
    path.parent.mkdir()
    path.write_text(COMMENTED)
    quantum("connect", "cursor", "--http")
    text = path.read_text()
    assert entry_in(path) == {"url": "http://127.0.0.1:8765/mcp"}
    without = [line for line in text.splitlines() if line not in COMMENTED.splitlines()]
    assert "".join(without).split() == ['"quantum":', "{", '"url":', '"http://127.0.0.1:8765/mcp"', "}"]
    quantum("connect", "cursor", "--undo")
    assert path.read_text() == COMMENTED


def test_doing_it_twice_changes_nothing(quantum: Quantum, home: Path) -> None:
    quantum("connect", "claude-code")
    path = home / ".claude.json"
    first = path.read_bytes()
    ran = quantum("connect", "claude-code")
    assert "nothing to change" in ran.err
    assert path.read_bytes() == first
    assert entry_in(path)["type"] == "stdio"


def test_a_dry_run_shows_and_writes_nothing(quantum: Quantum, home: Path) -> None:
    ran = quantum("connect", "vscode", "--dry-run")
    assert '"servers"' in ran.out
    assert not list(home.rglob("*.json"))


def test_undo_after_other_edits_takes_only_the_entry(quantum: Quantum, home: Path) -> None:
    path = home / ".claude.json"
    path.write_text('{\n  "mcpServers": {\n    "quantum": {"command": "older"}\n  }\n}\n')
    quantum("connect", "claude-code")
    quantum("connect", "claude-code", "--http")
    path.write_text(path.read_text().replace("{", '{\n  "numStartups": 7,', 1))
    quantum("connect", "claude-code", "--undo")
    assert parse(path.read_text()).plain() == {"numStartups": 7, "mcpServers": {"quantum": {"command": "older"}}}


def test_undo_after_two_ways_returns_to_the_time_before_both(quantum: Quantum, home: Path) -> None:
    path = home / ".claude.json"
    path.write_text('{"a": 1}')
    quantum("connect", "claude-code")
    quantum("connect", "claude-code", "--http")
    quantum("connect", "claude-code", "--undo")
    assert path.read_text() == '{"a": 1}'


def test_undo_can_be_looked_at_first(quantum: Quantum, home: Path) -> None:
    quantum("connect", "claude-code")
    path = home / ".claude.json"
    before = path.read_bytes()
    assert '-    "quantum": {' in quantum("connect", "claude-code", "--undo", "--dry-run").out
    assert path.read_bytes() == before


def test_a_broken_file_is_left_as_it_is(quantum: Quantum, home: Path) -> None:
    path = home / ".claude.json"
    for broken, says in (('{"a": }', "line 1, column 7"), ('{"mcpServers": 5}', "mcpServers is no object")):
        path.write_text(broken)
        ran = quantum("connect", "claude-code")
        assert ran.code == ExitCode.USAGE
        assert says in ran.err
        assert path.read_text() == broken


def test_a_link_into_dotfiles_stays_a_link_and_modes_are_kept(quantum: Quantum, home: Path) -> None:
    real = home / "dotfiles.json"
    real.write_text("{}")
    real.chmod(0o640)
    (home / ".claude.json").symlink_to(real)
    quantum("connect", "claude-code")
    assert (home / ".claude.json").is_symlink()
    assert "quantum" in real.read_text()
    assert real.stat().st_mode & 0o777 == 0o640


def test_what_is_kept_for_undo_is_for_its_owner_alone(quantum: Quantum, home: Path) -> None:
    (home / ".claude.json").write_text('{"token": "secret"}')
    quantum("connect", "claude-code")
    (record,) = (home / ".local/share/quantum-suite/connect").iterdir()
    assert json.loads(record.read_text())["before"] == '{"token": "secret"}'
    assert record.stat().st_mode & 0o077 == 0


def test_secrets_near_the_entry_are_not_shown(quantum: Quantum, home: Path) -> None:
    token = "ghp_" + "a" * 36
    (home / ".claude.json").write_text(f'{{\n  "mcpServers": {{\n    "git": {{"key": "{token}"}}\n  }}\n}}')
    assert token not in quantum("connect", "claude-code").out
    assert token in (home / ".claude.json").read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["claude-desktop", "--http"], "names programs to start"),
        (["claude-desktop", "--scope", "project"], "no configuration in a project"),
        (["cursor", "--http", "--url", "127.0.0.1:8765"], "no address"),
        (["emacs"], "claude-desktop"),
    ],
)
def test_what_an_assistant_cannot_do_is_said(quantum: Quantum, arguments: list[str], says: str) -> None:
    ran = quantum("connect", *arguments)
    assert ran.code == ExitCode.USAGE
    assert says in ran.err


@pytest.mark.parametrize(
    ("assistant", "path", "form", "header"),
    [
        ("claude-code", ".claude.json", "mcpServers", "Bearer ${QUANTUM_KEY}"),
        ("cursor", ".cursor/mcp.json", "mcpServers", "Bearer ${env:QUANTUM_KEY}"),
        ("vscode", ".config/Code/User/mcp.json", "servers", "Bearer ${input:quantum-key}"),
    ],
)
def test_a_hub_elsewhere_is_reached_with_a_key_that_is_not_in_the_file(
    quantum: Quantum, home: Path, assistant: str, path: str, form: str, header: str
) -> None:
    quantum("connect", assistant, "--http", "--url", "https://hub.example.org/mcp")
    assert entry_in(home / path, form)["headers"] == {"Authorization": header}
    inputs = parse((home / path).read_text()).plain().get("inputs", [])
    assert [item["id"] for item in inputs] == (["quantum-key"] if assistant == "vscode" else [])


def test_a_projects_file_names_no_path_of_one_person(quantum: Quantum, home: Path) -> None:
    quantum("connect", "vscode", "--scope", "project")
    entry = entry_in(home / ".vscode/mcp.json", "servers")
    assert entry["args"][-2:] == ["--workspace", "${workspaceFolder}"]  # type: ignore[index] # JSON from the file
