"""Sensitive values are replaced on the way out and put back on the way in."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from quantum_suite.services.llm.configuration import MaskingOptions
from quantum_suite.services.llm.interface import Message, ModelRequest, ToolCall, ToolSpec
from quantum_suite.services.llm.sensitive import find_sensitive

_NOTE = (
    "Some values were replaced by placeholders such as [{example}]. Where you need such a value, write its "
    "placeholder exactly as it stands."
)


class Masking:
    """Placeholders of one call: a value has one, wherever it occurs, and no text of the call holds one by chance.

    Numbers are given in order of appearance, so equal requests are masked equally.
    """

    def __init__(self, options: MaskingOptions, texts: Iterable[str]) -> None:
        self._options = options
        self._placeholders: dict[str, str] = {}
        self._values: dict[str, str] = {}
        self._numbers: Counter[str] = Counter()
        self._mark = _unused_mark(texts)
        self._pattern = re.compile(rf"\[[A-Z]+_{self._mark}\d+\]")
        self.longest = 0
        """Of its placeholders, in characters."""

    @property
    def counts(self) -> dict[str, int]:
        """Return how many values of each kind were replaced."""
        return {kind.lower(): number for kind, number in sorted(self._numbers.items())}

    def mask(self, text: str) -> str:
        """Return `text` with every sensitive value replaced."""
        options = self._options
        spans = find_sensitive(
            text, secrets=options.secrets, personal=options.personal, ip_addresses=options.ip_addresses
        )
        if not spans:
            return text
        parts, at = [], 0
        for span in spans:
            parts += [text[at : span.start], self._placeholder(text[span.start : span.end], span.kind)]
            at = span.end
        return "".join((*parts, text[at:]))

    def restore(self, text: str) -> str:
        """Return `text` with the values put back."""
        if not self._values or "[" not in text:
            return text
        return self._pattern.sub(lambda match: self._values.get(match[0], match[0]), text)

    def restore_value(self, value: Any) -> Any:
        """`restore` for every text in a JSON value, the names of members included."""
        return _mapped(value, self.restore) if self._values else value

    def request(self, request: ModelRequest) -> ModelRequest:
        """Return the request as it may leave."""
        messages = tuple(self._message(message) for message in request.messages)
        if not self._values and not request.tools and request.output_schema is None:
            return request
        masked = replace(
            request,
            messages=messages,
            tools=tuple(
                ToolSpec(tool.name, self.mask(tool.description), _mapped(tool.parameters, self.mask))
                for tool in request.tools
            ),
            output_schema=_mapped(request.output_schema, self.mask),
        )
        if not self._values:
            return masked
        note = _NOTE.format(example=next(iter(self._values)).strip("[]"))
        return replace(masked, messages=with_instruction(masked.messages, note))

    def _message(self, message: Message) -> Message:
        if not message.tool_calls:
            text = self.mask(message.text)
            return message if text is message.text else replace(message, text=text)
        calls = tuple(
            ToolCall(call.id, call.name, _mapped(call.arguments, self.mask)) for call in message.tool_calls
        )
        return replace(message, text=self.mask(message.text), tool_calls=calls)

    def _placeholder(self, value: str, kind: str) -> str:
        known = self._placeholders.get(value)
        if known is not None:
            return known
        self._numbers[kind] += 1
        placeholder = f"[{kind}_{self._mark}{self._numbers[kind]}]"
        self._placeholders[value] = placeholder
        self._values[placeholder] = value
        self.longest = max(self.longest, len(placeholder))
        return placeholder

    def streamed(self) -> "StreamRestorer":
        """Return what puts values back into text that comes in pieces."""
        return StreamRestorer(self)


class StreamRestorer:
    """Holds back the end of a piece as long as it may be the beginning of a placeholder."""

    def __init__(self, masking: Masking) -> None:
        self._masking = masking
        self._held = ""

    def feed(self, piece: str) -> str:
        """Return what may be shown after one more piece."""
        if not self._masking.longest:
            return piece
        text = self._held + piece
        opened = text.rfind("[")
        undecided = opened >= 0 and "]" not in text[opened:] and len(text) - opened < self._masking.longest
        self._held = text[opened:] if undecided else ""
        return self._masking.restore(text[:opened] if undecided else text)

    def end(self) -> str:
        """Return what was held back to the end."""
        held, self._held = self._held, ""
        return self._masking.restore(held)


def with_instruction(messages: tuple[Message, ...], instruction: str) -> tuple[Message, ...]:
    """Return the messages with one more instruction, in the system's turn."""
    if messages and messages[0].role == "system":
        return (replace(messages[0], text=f"{messages[0].text}\n\n{instruction}"), *messages[1:])
    return (Message("system", instruction), *messages)


def _unused_mark(texts: Iterable[str]) -> str:
    """Return letters that make placeholders differ from everything the texts hold already."""
    held = {match[1] for text in texts if "[" in text for match in re.finditer(r"\[[A-Z]+_([A-Z]*)\d+\]", text)}
    mark = ""
    while mark in held:
        mark += "X"
    return mark


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """Return a JSON value with every text in it changed, the names of members included."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {
            change(key) if isinstance(key, str) else key: _mapped(inner, change) for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_mapped(inner, change) for inner in value]
    return value
