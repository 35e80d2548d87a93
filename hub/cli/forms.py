"""Questions a tool asks, put to the person at the terminal."""

import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
from mcp.client.session import ClientRequestContext
from mcp.types import ElicitRequestFormParams, ElicitRequestParams, ElicitResult, ErrorData

from quantum_suite.hub.cli.console import err, printable

Answer = str | int | float | bool | list[str] | None
Paused = Callable[[], AbstractContextManager[None]]


class TerminalForms:
    """Answers elicitation by asking line by line; the end of input cancels.

    `paused` stops whatever else draws on the terminal for as long as a question stands.
    """

    def __init__(self, paused: Paused) -> None:
        self._paused = paused
        self._turn = anyio.Lock()

    async def __call__(
        self, context: ClientRequestContext, params: ElicitRequestParams
    ) -> ElicitResult | ErrorData:
        """Ask one question of the server's."""
        async with self._turn:
            with self._paused():
                try:
                    return await self._ask(params)
                except EOFError:
                    err().print("[dim]No answer: cancelled.[/]")
                    return ElicitResult(action="cancel")

    async def _ask(self, params: ElicitRequestParams) -> ElicitResult:
        console = err()
        console.print(f"\n[bold]The tool asks:[/] {_plain(params.message)}")
        if not isinstance(params, ElicitRequestFormParams):
            console.print(f"It wants you to visit {_plain(params.url)}", soft_wrap=True)
            accepted = await self._yes("Have you, and shall it go on? [y/N] ", otherwise=False)
            return ElicitResult(action="accept" if accepted else "decline")
        schema: Mapping[str, Any] = params.requested_schema
        fields: Mapping[str, Mapping[str, Any]] = schema.get("properties", {})
        if not await self._yes("Answer it? [Y/n] ", otherwise=True):
            return ElicitResult(action="decline")
        required = schema.get("required", ())
        content: dict[str, Answer] = {}
        for name, field in fields.items():
            answer = await self._field(name, field, required=name in required)
            if answer is not None:
                content[name] = answer
        return ElicitResult(action="accept", content=content)

    async def _yes(self, prompt: str, *, otherwise: bool) -> bool:
        answer = (await read_line(prompt)).strip().lower()
        return answer in ("y", "yes") if answer else otherwise

    async def _field(self, name: str, field: Mapping[str, Any], *, required: bool) -> Answer:
        console = err()
        if about := field.get("description"):
            console.print(f"  [dim]{_plain(str(about))}[/]")
        default = field.get("default")
        wants = _wants(field)
        notes = [wants] if wants else []
        notes += [f"default {default}"] if default is not None else ([] if required else ["may stay empty"])
        label = f"  {field.get('title') or name}" + (f" ({'; '.join(notes)})" if notes else "") + ": "
        while True:
            text = (await read_line(printable(label))).strip()
            if not text and (default is not None or not required):
                return default
            try:
                return parse_answer(text, field)
            except ValueError as error:
                console.print(f"  [red]{_plain(str(error))}[/]")


def parse_answer(text: str, field: Mapping[str, Any]) -> Answer:
    """Read one answer by the schema of its field; raises ValueError saying what would be right."""
    kind = field.get("type")
    if kind == "array":
        choices = _choices(field.get("items", {}))
        return [_chosen(part.strip(), choices) for part in text.split(",") if part.strip()]
    if choices := _choices(field):
        return _chosen(text, choices)
    if kind == "boolean":
        return _boolean(text)
    if kind in ("integer", "number"):
        return _number(text, field)
    if not text:
        raise ValueError("An answer is needed.")
    low, high = field.get("minLength", 0), field.get("maxLength")
    if len(text) < low or (high is not None and len(text) > high):
        raise ValueError(f"It must have {low} to {high or 'any number of'} characters.")
    return text


def _boolean(text: str) -> bool:
    if text.lower() in ("y", "yes", "true", "1"):
        return True
    if text.lower() in ("n", "no", "false", "0"):
        return False
    raise ValueError("Answer yes or no.")


def _number(text: str, field: Mapping[str, Any]) -> int | float:
    whole = field.get("type") == "integer"
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        raise ValueError(f"A {'whole ' if whole else ''}number is needed.") from None
    low, high = field.get("minimum"), field.get("maximum")
    if (low is not None and value < low) or (high is not None and value > high):
        raise ValueError(f"It must lie between {low} and {high}.")
    return value


def _chosen(text: str, choices: Mapping[str, str]) -> str:
    if not choices or text in choices:
        return text
    for value, title in choices.items():
        if text.lower() in (value.lower(), title.lower()):
            return value
    raise ValueError(f"Choose one of {', '.join(choices)}.")


def _choices(field: Mapping[str, Any]) -> dict[str, str]:
    """Return the values a field may take, with their titles, in every form the revisions write them."""
    if "enum" in field:
        names = field.get("enumNames") or field["enum"]
        return dict(zip(map(str, field["enum"]), map(str, names), strict=False))
    titled = field.get("oneOf") or field.get("anyOf") or ()
    return {
        str(option["const"]): str(option.get("title", option["const"])) for option in titled if "const" in option
    }


def _wants(field: Mapping[str, Any]) -> str:
    choices = _choices(field) or _choices(field.get("items", {}))
    if choices:
        several = "some of " if field.get("type") == "array" else ""
        return several + ", ".join(v if v == t else f"{v} = {t}" for v, t in choices.items())
    return {"boolean": "yes/no", "integer": "whole number", "number": "number"}.get(str(field.get("type")), "")


def _plain(text: str) -> str:
    return printable(text).replace("[", r"\[")


async def read_line(prompt: str) -> str:
    """Read a line from stdin, cancellably; raises EOFError at its end.

    The reader is a daemon thread of its own: a worker thread would keep the process alive until Enter is pressed.
    """
    token = anyio.lowlevel.current_token()
    done = anyio.Event()
    answer: list[str] = []

    def read() -> None:
        try:
            answer.append(input())
        except EOFError:
            pass
        finally:
            anyio.from_thread.run_sync(done.set, token=token)

    sys.stderr.write(prompt)  # stdout holds the result alone
    sys.stderr.flush()
    threading.Thread(target=read, daemon=True).start()
    await done.wait()
    if not answer:
        raise EOFError
    return answer[0]
