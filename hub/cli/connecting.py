"""Writing an assistant's configuration, so that nothing of anybody's is lost and it can be taken back."""

import difflib
import hashlib
import json
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantum_suite.core.errors import CallerError, ConfigurationError, Unavailable
from quantum_suite.core.masking import mask_text
from quantum_suite.hub.cli.assistants import (
    ASSISTANTS,
    KEY_VARIABLE,
    SERVER_NAME,
    Assistant,
    AssistantName,
    Command,
    Machine,
    Scope,
    needs_key,
)
from quantum_suite.hub.cli.console import printable, say, write_line
from quantum_suite.hub.cli.exits import ExitCode
from quantum_suite.hub.jsonc import JsoncError, append_item, parse, remove_member, set_member
from quantum_suite.hub.settings import read_settings


@dataclass(frozen=True, slots=True)
class Wish:
    """How the assistant is to reach the suite: the running hub at `url`, or one it starts itself."""

    url: str | None = None
    config: Path | None = None
    workspaces: tuple[Path, ...] = ()
    data_dir: Path | None = None


@dataclass(frozen=True, slots=True)
class _Record:
    """What was there before, kept for undo. None stands for no file, or no entry."""

    before: str | None
    after: str
    entry_before: Any

    def write(self, path: Path) -> None:
        value = {"before": self.before, "after": self.after, "entry_before": self.entry_before}
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _replace(path, json.dumps(value), mode=0o600)

    @classmethod
    def read(cls, path: Path) -> "_Record | None":
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return cls(value["before"], value["after"], value["entry_before"])


def connect_assistant(
    name: AssistantName, scope: Scope, wish: Wish, *, dry_run: bool = False, machine: Machine | None = None
) -> ExitCode:
    """Write the entry, showing the difference first. Doing it twice changes nothing the second time."""
    machine = machine or Machine.here()
    assistant = ASSISTANTS[name]
    path = _path(assistant, scope, machine)
    transport = _transport(assistant, scope, wish, machine)
    before = _read(path)
    record_path = _record_path(path, wish.data_dir)
    after = _with_entry(path, before or "", assistant, transport)
    if after == before:
        say(f"{path} already has this entry; nothing to change.")
        return ExitCode.OK
    _show(path, before or "", after)
    if dry_run:
        say("Nothing was changed (--dry-run).")
        return ExitCode.OK
    record = _Record.read(record_path)
    if record is None:
        record = _Record(before, after, _entry_of(before, assistant))
    else:
        # Connected before: what undo returns to is the time before the suite's first entry.
        original = record.before if before == record.after else _restored(before or "", assistant, record)
        record = _Record(original, after, record.entry_before)
    record.write(record_path)
    _write(path, before, after)
    say(f"Wrote {path}. {assistant.after}")
    if isinstance(transport, str) and needs_key(transport) and not assistant.inputs(transport):
        say(f"Set {KEY_VARIABLE} in its environment to a key made with `quantum keys create`.")
    say(f"`quantum connect {name} --scope {scope} --undo` takes it back.")
    return ExitCode.OK


def undo_connect(
    name: AssistantName,
    scope: Scope,
    *,
    dry_run: bool = False,
    data_dir: Path | None = None,
    machine: Machine | None = None,
) -> ExitCode:
    """Take the entry back. A file nobody touched since becomes what it was, byte by byte; in any other, only the
    suite's entry changes."""
    machine = machine or Machine.here()
    assistant = ASSISTANTS[name]
    path = _path(assistant, scope, machine)
    record_path = _record_path(path, data_dir)
    record = _Record.read(record_path)
    if record is None:
        say(f"Nothing to undo: {path} was not written by `quantum connect`.")
        return ExitCode.OK
    current = _read(path)
    if current is None:
        target = None
    else:
        target = record.before if current == record.after else _restored(current, assistant, record)
    if target != current:
        _show(path, current or "", target or "")
    if dry_run:
        say("Nothing was changed (--dry-run).")
        return ExitCode.OK
    if target is None:
        path.unlink(missing_ok=True)
    elif target != current:
        _write(path, current, target)
    record_path.unlink()
    say(f"{path} is as it was without the suite.")
    return ExitCode.OK


def own_command(assistant: Assistant, scope: Scope, wish: Wish, machine: Machine) -> Command:
    """Return the command that starts a hub over stdio for this assistant."""
    script = Path(sys.executable).with_name("quantum.exe" if machine.platform == "win32" else "quantum")
    found = shutil.which("quantum")
    program, lead = (str(script), ()) if script.exists() else (sys.executable, ("-m", "quantum_suite.hub.cli"))
    if scope is Scope.PROJECT and found and script.exists() and Path(found).resolve() == script.resolve():
        program = "quantum"  # the file may be shared: no path of one person's machine
    args = [*lead, "stdio"]
    if wish.config:
        args += ["--config", str(wish.config.expanduser().resolve())]
    workspaces = [str(path.expanduser().resolve()) for path in wish.workspaces]
    if not workspaces:
        workspaces = _default_workspaces(assistant, scope, machine)
    for workspace in workspaces:
        args += ["--workspace", workspace]
    if wish.data_dir:
        args += ["--data-dir", str(wish.data_dir.expanduser().resolve())]
    return Command(program, tuple(args))


def _default_workspaces(assistant: Assistant, scope: Scope, machine: Machine) -> list[str]:
    """Assistants that work in a project start their servers there or name it; Claude Desktop knows none."""
    if assistant.name in (AssistantName.VSCODE, AssistantName.CURSOR):
        return ["${workspaceFolder}"] if scope is Scope.PROJECT else [str(machine.project)]
    return [] if assistant.name is AssistantName.CLAUDE_CODE else [str(machine.project)]


def _path(assistant: Assistant, scope: Scope, machine: Machine) -> Path:
    path = assistant.path(scope, machine)
    if path is None:
        raise CallerError(
            f"{assistant.title} keeps no configuration in a project.", "Leave out --scope.", argument="scope"
        )
    return path


def _transport(assistant: Assistant, scope: Scope, wish: Wish, machine: Machine) -> Command | str:
    if wish.url is None:
        return own_command(assistant, scope, wish, machine)
    if not assistant.http:
        raise CallerError(
            f"{assistant.title}'s file names programs to start, not addresses.",
            "Leave out --http, or add the address as a connector in its settings.",
            argument="http",
        )
    if not wish.url.startswith(("http://", "https://")):
        raise CallerError(
            f"'{wish.url}' is no address.", "It looks like http://127.0.0.1:8765/mcp.", argument="url"
        )
    return wish.url


def _record_path(path: Path, data_dir: Path | None) -> Path:
    folder = read_settings({"data_dir": data_dir}).data_dir / "connect"
    return folder / f"{hashlib.sha256(str(path).encode()).hexdigest()[:16]}.json"


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}.", "It was left as it is.") from error


def _with_entry(path: Path, text: str, assistant: Assistant, transport: Command | str) -> str:
    entry = assistant.entry(transport)
    try:
        if _entry_of(text, assistant) != entry:
            text = set_member(text, (assistant.form, SERVER_NAME), entry)
        for wanted in assistant.inputs(transport):
            plain = parse(text).plain()
            if wanted["id"] not in [item.get("id") for item in plain.get("inputs", []) if isinstance(item, dict)]:
                text = append_item(text, ("inputs",), wanted)
    except JsoncError as error:
        raise ConfigurationError(
            f"{path}: line {error.line}, column {error.column}: {error.problem}.",
            "Mend it first; it was left as it is.",
        ) from error
    except TypeError as error:
        raise ConfigurationError(f"{path}: {error}.", "Mend it first; it was left as it is.") from error
    return text


def _entry_of(text: str | None, assistant: Assistant) -> Any:
    if not (text or "").strip():
        return None
    plain = parse(text or "").plain()
    servers = plain.get(assistant.form) if isinstance(plain, dict) else None
    return servers.get(SERVER_NAME) if isinstance(servers, dict) else None


def _restored(text: str, assistant: Assistant, record: _Record) -> str:
    """Return today's text with the suite's entry as it was before, and everything else as it is now."""
    if not text.strip():
        return text
    where = (assistant.form, SERVER_NAME)
    try:
        if record.entry_before is not None:
            return set_member(text, where, record.entry_before)
        return remove_member(text, where)
    except (JsoncError, TypeError) as error:
        raise ConfigurationError(
            f"The file changed since and cannot be read: {error}.", "Mend it first."
        ) from error


def _show(path: Path, before: str, after: str) -> None:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), str(path), str(path), lineterm="", n=2)
    for line in lines:
        write_line(mask_text(printable(line)))


def _write(path: Path, before: str | None, after: str) -> None:
    if _read(path) != before:
        raise Unavailable(f"{path} was changed by another program just now.", "Run the command again.")
    path.parent.mkdir(parents=True, exist_ok=True)
    real = path.resolve()  # a link into somebody's dotfiles stays one
    mode = real.stat().st_mode & 0o777 if real.exists() else 0o600
    _replace(real, after, mode=mode)


def _replace(path: Path, text: str, *, mode: int) -> None:
    """Replace the file in one step: a reader sees the old or the new, and a crash leaves one of them."""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {error.strerror}.", "Check its permissions."
        ) from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(temporary).unlink()
        raise
