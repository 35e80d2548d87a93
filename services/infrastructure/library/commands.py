"""Commands: one that creates, and others that read, update and delete what it made."""

import os
from functools import partial
from typing import Any

import anyio
import pulumi
from pulumi.dynamic import (
    CheckFailure,
    CheckResult,
    CreateResult,
    DiffResult,
    ReadResult,
    Resource,
    ResourceProvider,
    UpdateResult,
)

from quantum_suite.services.infrastructure.library.properties import (
    Property,
    as_given,
    checked,
    differing,
    number,
    text,
    text_map,
)
from quantum_suite.services.process import run
from quantum_suite.services.process_group import ProcessError

_MOST_OUTPUT = 256 * 1024
_ABSENT_STATUS = 3


def _words(value: Any) -> list[str]:
    if not isinstance(value, list | tuple) or not value or not all(isinstance(word, str) for word in value):
        raise ValueError("a command is a list of texts: the program and its arguments")
    return [str(word) for word in value]


class CommandFailed(Exception):
    """A command failed, hung, or could not be started; with the end of what it printed."""


class CommandProvider(ResourceProvider):
    """What commands make; the id is the first line that `create` prints, else the resource's name."""

    serialize_as_secret_always = False
    properties = {  # noqa: RUF012 - read only
        "create_command": Property(normal=_words, replaces=True),
        "read_command": Property(None, _words),
        "update_command": Property(None, _words),
        "delete_command": Property(None, _words),
        "environment": Property({}, text_map),
        "triggers": Property([], as_given, replaces=True),
        "directory": Property("", text),
        "timeout_seconds": Property(300, number(1, 3_600)),
    }

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Return the inputs in their one form. Whether it exists only its `read_command` could say, by its id."""
        inputs, wrong = checked(self.properties, news)
        return CheckResult(inputs, [CheckFailure(name, words) for name, words in wrong])

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Another command or trigger makes it anew, unless there is a command that updates."""
        names = differing(self.properties, olds, news)
        drifted = olds.get("stdout") != olds.get("read_stdout") if olds.get("read_command") else False
        replaces = [name for name in names if self.properties[name].replaces]
        if news.get("update_command"):
            replaces = []
        elif drifted:
            replaces.append("stdout")
        return DiffResult(changes=bool(names) or drifted, replaces=replaces, delete_before_replace=True)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Run the command that creates."""
        printed = self._run(props, "create_command", "")
        made = printed.splitlines()[0].strip() if printed.strip() else str(props["__name"])
        return CreateResult(made, self._outputs(props, made, printed))

    def update(self, id_: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Run the command that updates."""
        printed = self._run(news, "update_command", id_) if news.get("update_command") else ""
        return UpdateResult(self._outputs(news, id_, printed))

    def _outputs(self, props: dict[str, Any], made: str, printed: str) -> dict[str, Any]:
        outputs = {key: value for key, value in props.items() if key not in ("stdout", "read_stdout")}
        read = self._run(props, "read_command", made) if props.get("read_command") else printed
        # What is read now is what it should read as from now on.
        return {**outputs, "stdout": read, "read_stdout": read}

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Run the command that reads; it says by status 3 that there is nothing."""
        if not props.get("read_command"):
            return ReadResult(id_, dict(props))
        try:
            printed = self._run(props, "read_command", id_)
        except _Absent:
            return ReadResult(None, {})
        return ReadResult(id_, {**props, "read_stdout": printed})

    def delete(self, id_: str, props: dict[str, Any]) -> None:
        """Run the command that deletes; without one nothing is done."""
        if props.get("delete_command"):
            try:
                self._run(props, "delete_command", id_)
            except _Absent:
                return

    def _run(self, props: dict[str, Any], which: str, made: str) -> str:
        command = [str(word) for word in props[which]]
        environment = {**os.environ, **(props.get("environment") or {}), "RESOURCE_ID": made}
        seconds = float(props.get("timeout_seconds") or 300)
        run_it = partial(
            run,
            command,
            cwd=props.get("directory") or None,
            env=environment,
            timeout_seconds=seconds,
            max_output_bytes=_MOST_OUTPUT,
        )
        try:
            done = anyio.run(run_it)
        except ProcessError as error:
            raise CommandFailed(f"{which}: {error}") from None
        printed = done.stdout.decode("utf-8", "replace")
        if done.returncode == _ABSENT_STATUS and which != "create_command":
            raise _Absent(which)
        if done.returncode:
            last = " / ".join((done.stderr_tail or printed).strip().splitlines()[-3:])
            raise CommandFailed(f"{which}: {command[0]} ended with status {done.returncode}: {last}")
        return printed


class _Absent(CommandFailed):
    """A command said by its status that there is nothing."""


class Command(Resource, module="commands", name="Command"):
    """What commands make: create_command, read_command (status 3: it is gone), update_command, delete_command,
    each a list of texts; environment, triggers (others make it anew), directory, timeout_seconds.

    They find the id in RESOURCE_ID and run where providers run: in the sandbox, in the project's folder.
    """

    stdout: pulumi.Output[str]

    def __init__(
        self,
        resource_name: str,
        create_command: "pulumi.Input[list[str]]",
        *,
        read_command: "pulumi.Input[list[str]] | None" = None,
        update_command: "pulumi.Input[list[str]] | None" = None,
        delete_command: "pulumi.Input[list[str]] | None" = None,
        environment: "pulumi.Input[dict[str, str]] | None" = None,
        triggers: "pulumi.Input[list[str]] | None" = None,
        directory: "pulumi.Input[str] | None" = None,
        timeout_seconds: "pulumi.Input[int] | None" = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        given: dict[str, Any] = {
            "create_command": create_command,
            "read_command": read_command,
            "update_command": update_command,
            "delete_command": delete_command,
            "environment": environment,
            "triggers": triggers,
            "directory": directory,
            "timeout_seconds": timeout_seconds,
            "stdout": None,
            "__name": resource_name,
        }
        super().__init__(CommandProvider(), resource_name, given, opts)
