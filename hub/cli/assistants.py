"""The assistants that can be attached: where each keeps its servers, and the form it writes them in.

Sources: modelcontextprotocol.io, "Connect to local MCP servers" (Claude Desktop); code.claude.com/docs/en/mcp
(Claude Code); code.visualstudio.com/docs/copilot/reference/mcp-configuration (VS Code); cursor.com/docs/mcp.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SERVER_NAME = "quantum"
KEY_VARIABLE = "QUANTUM_KEY"
_INPUT_ID = "quantum-key"


class AssistantName(StrEnum):
    """An assistant, as named on the command line."""

    CLAUDE_DESKTOP = "claude-desktop"
    CLAUDE_CODE = "claude-code"
    VSCODE = "vscode"
    CURSOR = "cursor"


class Scope(StrEnum):
    """Whose configuration is written."""

    USER = "user"
    PROJECT = "project"


@dataclass(frozen=True, slots=True)
class Machine:
    """What decides where files lie."""

    platform: str
    home: Path
    environ: Mapping[str, str]
    project: Path

    @classmethod
    def here(cls) -> "Machine":
        """Return this machine, seen from the current directory."""
        return cls(sys.platform, Path.home(), os.environ, Path.cwd())

    def application_support(self) -> Path:
        """Return where this platform's programs keep a person's settings."""
        if self.platform == "darwin":
            return self.home / "Library" / "Application Support"
        if self.platform == "win32":
            return Path(self.environ.get("APPDATA") or self.home / "AppData" / "Roaming")
        return Path(self.environ.get("XDG_CONFIG_HOME") or self.home / ".config")


@dataclass(frozen=True, slots=True)
class Assistant:
    """One assistant's habits."""

    name: AssistantName
    title: str
    form: str
    """The member of its file that holds servers."""
    typed: bool
    """Whether its entries name their transport in `type`."""
    http: bool
    """Whether its file can name a server by URL."""
    after: str
    """What a person does once the file is written."""

    def entry(self, transport: "Command | str") -> dict[str, Any]:
        """Return the entry for the hub: a command to start, or the URL of a running one."""
        if isinstance(transport, Command):
            kind = {"type": "stdio"} if self.typed else {}
            return {**kind, "command": transport.program, "args": list(transport.args)}
        kind = {"type": "http"} if self.typed else {}
        entry: dict[str, Any] = {**kind, "url": transport}
        if needs_key(transport):
            entry["headers"] = {"Authorization": f"Bearer {self._key_variable()}"}
        return entry

    def inputs(self, transport: "Command | str") -> list[dict[str, Any]]:
        """Return what the assistant is to ask its person for (VS Code's `inputs`)."""
        if self.name is not AssistantName.VSCODE or isinstance(transport, Command) or not needs_key(transport):
            return []
        return [
            {"type": "promptString", "id": _INPUT_ID, "description": "Quantum Suite API key", "password": True}
        ]

    def path(self, scope: Scope, machine: Machine) -> Path | None:
        """Return the file for this scope; None when the assistant has none."""
        project = scope is Scope.PROJECT
        match self.name:
            case AssistantName.CLAUDE_DESKTOP:
                folder = machine.application_support() / "Claude"
                return None if project else folder / "claude_desktop_config.json"
            case AssistantName.CLAUDE_CODE:
                own = machine.environ.get("CLAUDE_CONFIG_DIR")
                user = Path(own) if own else machine.home
                return machine.project / ".mcp.json" if project else user / ".claude.json"
            case AssistantName.VSCODE:
                user = machine.application_support() / "Code" / "User"
                return (machine.project / ".vscode" if project else user) / "mcp.json"
            case AssistantName.CURSOR:
                return (machine.project if project else machine.home) / ".cursor" / "mcp.json"

    def _key_variable(self) -> str:
        match self.name:
            case AssistantName.VSCODE:
                return f"${{input:{_INPUT_ID}}}"
            case AssistantName.CURSOR:
                return f"${{env:{KEY_VARIABLE}}}"
            case _:
                return f"${{{KEY_VARIABLE}}}"


@dataclass(frozen=True, slots=True)
class Command:
    """A program an assistant starts to speak stdio with."""

    program: str
    args: tuple[str, ...]


ASSISTANTS: Mapping[AssistantName, Assistant] = {
    assistant.name: assistant
    for assistant in (
        Assistant(
            AssistantName.CLAUDE_DESKTOP,
            "Claude Desktop",
            "mcpServers",
            typed=False,
            http=False,
            after="Quit Claude Desktop completely and start it again.",
        ),
        Assistant(
            AssistantName.CLAUDE_CODE,
            "Claude Code",
            "mcpServers",
            typed=True,
            http=True,
            after="Start a new session; /mcp shows the server.",
        ),
        Assistant(
            AssistantName.VSCODE,
            "VS Code",
            "servers",
            typed=True,
            http=True,
            after="Run 'MCP: List Servers' from the command palette and start it.",
        ),
        Assistant(
            AssistantName.CURSOR,
            "Cursor",
            "mcpServers",
            typed=False,
            http=True,
            after="Switch it on in Cursor's settings under MCP.",
        ),
    )
}


def needs_key(url: str) -> bool:
    """Whether a hub at this URL asks for a key: everything but this machine does."""
    return urlsplit(url).hostname not in ("127.0.0.1", "::1", "localhost")
