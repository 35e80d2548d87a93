"""`mcp.json`: which servers the hub fronts.

Two published forms are read: `mcpServers` (Claude Desktop, Claude Code, Cursor) and `servers` (VS Code). What
concerns one entry alone (an unset variable, a wrong type) makes that entry degraded and leaves the others be;
what makes the file as a whole ambiguous or unreadable raises `ConfigurationError` with line and column.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from quantum_suite.core.errors import ConfigurationError
from quantum_suite.core.masking import mask_text
from quantum_suite.hub.expansion import Unexpandable, Variables
from quantum_suite.hub.jsonc import JsoncError, Member, Node, locate, parse

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
FORMS = ("mcpServers", "servers")

_READ = frozenset(
    {"type", "command", "args", "env", "cwd", "url", "headers", "disabled", "quantum", "description"}
)
_OWN_COMMAND = re.compile(r"(?:^|[/\\])quantum(?:\.exe)?$")


class UpstreamConfig(BaseModel):
    """One server to front, as configured; equal when nothing about it changed.

    Its text form shows no value of `env`, `headers`, `credentials`, `args` or `url`: any may carry a secret.
    """

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="Its name, lower-case.")
    kind: Literal["stdio", "http", "module"] = Field(description="How it is reached; module: in this process.")
    module: str | None = Field(default=None, description="The suite's module it stands for (kind module).")
    command: str | None = Field(default=None, description="The program to start (kind stdio).")
    args: tuple[str, ...] = Field(default=(), description="The program's arguments.")
    env: dict[str, str] = Field(default_factory=dict, description="Variables added to the program's environment.")
    cwd: str | None = Field(default=None, description="The program's working directory, absolute.")
    url: str | None = Field(default=None, description="Endpoint (kind http).")
    headers: dict[str, str] = Field(default_factory=dict, description="Headers sent on behalf of every caller.")
    prefix: str = Field(description="Goes before its names in the catalogue; empty adds nothing.")
    disabled: bool = Field(default=False, description="Declared, but not to be used.")
    deadline_seconds: float | None = Field(default=None, description="The longest a call to it may take.")
    max_children: int = Field(default=4, description="The most processes of it at once (kind stdio).")
    idle_seconds: float = Field(default=300, description="An unused process or connection ends after this.")
    credentials: dict[str, dict[str, str]] = Field(
        default_factory=dict,
        description="Headers by principal id (kind http). A principal without any is not let through unless "
        "`headers` are shared.",
    )
    long_running: tuple[str, ...] = Field(
        default=(), description="Its tools, by its own names, that run as tasks where the client takes one."
    )
    problem: str | None = Field(default=None, description="Why it cannot be used as configured.")
    source: str = Field(description="File and line that declare it.")

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Show what is safe to log, and of the rest the names alone."""
        for name in ("name", "kind", "module", "command", "prefix", "disabled", "problem", "source"):
            value = getattr(self, name)
            yield name, mask_text(value) if isinstance(value, str) else value
        yield "env", sorted(self.env)
        yield "headers", sorted(self.headers)
        yield "credentials", sorted(self.credentials)


def same_server(one: UpstreamConfig, other: UpstreamConfig) -> bool:
    """Whether two entries mean the same, wherever in the file they stand."""
    anywhere = {"source": ""}
    return one.model_copy(update=anywhere) == other.model_copy(update=anywhere)


@dataclass(frozen=True, slots=True)
class Config:
    """A whole file, in its own order."""

    path: Path
    upstreams: tuple[UpstreamConfig, ...]
    warnings: tuple[str, ...] = ()
    """What was read over, for a person to know: one line each, no secrets."""


class _Entry(BaseModel):
    """An entry as written."""

    model_config = ConfigDict(extra="ignore", strict=True)

    type: str | None = None
    command: str | None = Field(default=None, min_length=1)
    args: list[str] = Field(default_factory=list)
    env: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    cwd: str | None = None
    url: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    disabled: bool = False
    quantum: "EntryOptions" = Field(default_factory=lambda: EntryOptions())


class EntryOptions(BaseModel):
    """The suite's own key of an entry, `quantum`, as written."""

    model_config = ConfigDict(extra="ignore", strict=True)

    prefix: str | None = Field(default=None, pattern=r"^([a-z0-9][a-z0-9_-]{0,31})?$")
    disabled: bool = False
    deadlineSeconds: float | None = Field(default=None, gt=0)  # noqa: N815 - the file's own spelling
    maxChildren: int = Field(default=4, ge=1, le=64)  # noqa: N815 - the file's own spelling
    idleSeconds: float = Field(default=300, gt=0)  # noqa: N815 - the file's own spelling
    credentials: dict[str, dict[str, str]] = Field(default_factory=dict)
    longRunning: list[str] = Field(default_factory=list)  # noqa: N815 - the file's own spelling


def user_config_path() -> Path:
    """Return where a person keeps the servers to front when no file is named."""
    return Path(platformdirs.user_config_dir("quantum-suite", appauthor=False)) / "mcp.json"


def read_config(path: Path, *, environ: Mapping[str, str] = os.environ, workspace: Path | None = None) -> Config:
    """Read the file at `path`.

    `${env:NAME}`, `${env:NAME:-default}` and `${NAME}` are replaced from `environ`, `${workspaceFolder}` by
    `workspace` (default: the folder the file stands in, or its parent for `.vscode` and `.cursor`). Raises
    ConfigurationError when the file is missing, is no JSON, or names two servers alike.
    """
    text = _read_text(path)
    try:
        root = parse(text)
    except JsoncError as error:
        raise ConfigurationError(
            f"{path}: line {error.line}, column {error.column}: {error.problem}.",
            "Comments and trailing commas are allowed; everything else is plain JSON.",
        ) from error
    folder = path.resolve().parent
    home = folder.parent if folder.name in (".vscode", ".cursor") else folder
    variables = Variables(environ, workspace or home)
    upstreams: dict[str, UpstreamConfig] = {}
    warnings: list[str] = []
    for member, written in _entries(path, text, root):
        line, column = locate(text, member.start)
        name = written.lower()
        if not NAME.fullmatch(name):
            raise ConfigurationError(
                f"{path}: line {line}, column {column}: '{written}' cannot name a server.",
                "Use letters, digits, '-' and '_', at most 32, starting with a letter or digit.",
            )
        if name in upstreams:
            raise ConfigurationError(
                f"{path}: line {line}, column {column}: '{written}' names a server that is already there "
                f"({upstreams[name].source}).",
                "Names are compared without regard to case; rename one of the two.",
            )
        source = f"{path}:{line}"
        upstreams[name] = _upstream(name, member.value, source, variables, home, warnings)
    return Config(path, tuple(upstreams.values()), tuple(warnings))


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigurationError(f"{path} does not exist.", "Name an existing file with --config.") from error
    except IsADirectoryError as error:
        raise ConfigurationError(f"{path} is a directory.", "Name the file itself, e.g. mcp.json.") from error
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.", "Check its permissions.") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: byte {error.start} is not UTF-8.", "Save the file as UTF-8.") from error


def _entries(path: Path, text: str, root: Node) -> Iterator[tuple[Member, str]]:
    if not isinstance(root.content, dict):
        raise ConfigurationError(f"{path}: line 1, column 1: an object is expected.", _form_hint())
    found = [root.content[form].value for form in FORMS if form in root.content]
    if not found and root.content:
        raise ConfigurationError(f"{path} names no servers: neither 'mcpServers' nor 'servers'.", _form_hint())
    for node in found:
        if not isinstance(node.content, dict):
            line, column = locate(text, node.start)
            raise ConfigurationError(f"{path}: line {line}, column {column}: an object is expected.", _form_hint())
        yield from ((member, name) for name, member in node.content.items())


def _form_hint() -> str:
    return 'The form is {"mcpServers": {"name": {"command": "...", "args": [...]}}}.'


def _upstream(
    name: str, node: Node, source: str, variables: Variables, folder: Path, warnings: list[str]
) -> UpstreamConfig:
    plain = node.plain()
    if isinstance(plain, dict):
        for key in _unread(plain):
            warnings.append(f"{source}: '{key}' of {name} is not used here.")
    kind: Literal["stdio", "http"] = "http" if isinstance(plain, dict) and "url" in plain else "stdio"
    try:
        entry = _Entry.model_validate(plain)
    except ValidationError as error:
        return UpstreamConfig(
            name=name, kind=kind, prefix=name, problem=f"{source}: {_explain(error)}", source=source
        )
    options = entry.quantum
    problem = _contradiction(entry)
    values: dict[str, Any] = {}
    try:
        values = _expanded(entry, variables, folder)
    except Unexpandable as error:
        problem = problem or str(error)
    module = _own_module(entry)
    return UpstreamConfig(
        name=name,
        kind="module" if module else kind,
        module=module,
        prefix=name if options.prefix is None else options.prefix,
        disabled=entry.disabled or options.disabled,
        deadline_seconds=options.deadlineSeconds,
        max_children=options.maxChildren,
        idle_seconds=options.idleSeconds,
        long_running=tuple(options.longRunning),
        problem=f"{source}: {problem}" if problem else None,
        source=source,
        **values,
    )


def _unread(plain: dict[str, Any]) -> Iterator[str]:
    yield from (key for key in plain if key not in _READ)
    own = plain.get("quantum")
    if isinstance(own, dict):
        yield from (f"quantum.{key}" for key in own if key not in EntryOptions.model_fields)


def _explain(error: ValidationError) -> str:
    first = error.errors(include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the entry"
    if first["type"] == "string_pattern_mismatch":
        return f"{where}: only lower-case letters, digits, '-' and '_', at most 32."
    return f"{where}: {first['msg']}."


def _contradiction(entry: _Entry) -> str | None:
    """Say what keeps an entry of right types from meaning one server."""
    if entry.type == "sse":
        return (
            "the HTTP+SSE transport is not spoken here (the protocol replaced it in 2025-03-26). "
            'Use the server\'s Streamable HTTP endpoint and "type": "http".'
        )
    if entry.type not in (None, "stdio", "http", "streamable-http", "streamableHttp"):
        return f"type '{entry.type}' is unknown. Use stdio or http."
    if (entry.command is None) == (entry.url is None):
        return "give either 'command' (a program to start) or 'url' (a Streamable HTTP endpoint)."
    if entry.type is not None and (entry.type == "stdio") != (entry.command is not None):
        return f"type '{entry.type}' does not go with '{'command' if entry.command else 'url'}'."
    if entry.command is not None:
        if entry.headers or entry.quantum.credentials:
            return "headers and credentials belong to servers with a 'url'; pass secrets to a program by 'env'."
        if _OWN_COMMAND.search(entry.command) and entry.args[:1] in (["stdio"], ["up"]):
            return "this entry starts the hub itself; fronting itself it would never end."
    return None


def _expanded(entry: _Entry, variables: Variables, folder: Path) -> dict[str, Any]:
    def expand(text: str, where: str) -> str:
        return variables.expand(text, where)

    def expand_all(values: Mapping[str, str], where: str) -> dict[str, str]:
        return {key: expand(value, f"{where}.{key}") for key, value in values.items()}

    env = {key: _env_text(value) for key, value in entry.env.items() if value is not None}
    url = expand(entry.url, "url") if entry.url is not None else None
    if url is not None and not re.match(r"https?://[^/\s?#]+", url):
        raise Unexpandable("url: an http:// or https:// address is expected.")
    cwd = expand(entry.cwd, "cwd") if entry.cwd is not None else None
    return {
        "command": expand(entry.command, "command") if entry.command is not None else None,
        "args": tuple(expand(arg, f"args.{index}") for index, arg in enumerate(entry.args)),
        "env": expand_all(env, "env"),
        "cwd": str((folder / Path(cwd).expanduser()).resolve()) if cwd is not None else None,
        "url": url,
        "headers": expand_all(entry.headers, "headers"),
        "credentials": {
            principal: expand_all(headers, f"quantum.credentials.{principal}")
            for principal, headers in entry.quantum.credentials.items()
        },
    }


def _env_text(value: str | int | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _own_module(entry: _Entry) -> str | None:
    """Return the module's name where the entry is `quantum serve NAME --stdio`."""
    match entry.args:
        case ["serve", name, "--stdio"] if entry.command and _OWN_COMMAND.search(entry.command):
            return name
        case _:
            return None
