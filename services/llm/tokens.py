"""How many tokens a text takes, where nobody says."""

from collections.abc import Iterable

from quantum_suite.services.llm.interface import Message, ModelRequest, ToolCall

_PER_MESSAGE = 8
"""Roles and separators, generously."""
_CHARACTERS_A_TOKEN = 3.6
"""English prose takes about 4 characters a token, code about 3.3."""
_FEWEST_CHARACTERS_A_TOKEN = 2.0
"""For what must not be exceeded: dense code, digits and base64 take about 2."""


def estimate(text: str) -> int:
    """Return about how many tokens a text takes: an estimate, to be marked as one."""
    return _count(text, _CHARACTERS_A_TOKEN, 1.0)


def upper_estimate(text: str) -> int:
    """Return a number of tokens that real text does not exceed."""
    return _count(text, _FEWEST_CHARACTERS_A_TOKEN, 2.0)


def _count(text: str, characters_a_token: float, tokens_a_foreign_character: float) -> int:
    if not text:
        return 0
    # Beyond ASCII a character takes a token or more: most scripts are spelled out in bytes.
    ascii_only = len(text) if text.isascii() else sum(map(str.isascii, text))
    foreign = len(text) - ascii_only
    return int(ascii_only / characters_a_token + foreign * tokens_a_foreign_character) + 1


def estimated_input(request: ModelRequest) -> int:
    """Return about how many tokens a request takes."""
    return sum(map(estimate, texts_of(request))) + _PER_MESSAGE * len(request.messages)


def upper_input(request: ModelRequest) -> int:
    """Return a number of tokens a request does not exceed."""
    return sum(map(upper_estimate, texts_of(request))) + 2 * _PER_MESSAGE * len(request.messages)


def texts_of(request: ModelRequest) -> Iterable[str]:
    """Yield everything of a request that is sent as text."""
    for message in request.messages:
        yield from _texts(message)
    for tool in request.tools:
        yield f"{tool.name} {tool.description} {tool.parameters}"
    if request.output_schema is not None:
        yield str(request.output_schema)


def _texts(message: Message) -> Iterable[str]:
    yield message.text
    for call in message.tool_calls:
        yield call_text(call)


def call_text(call: ToolCall) -> str:
    """Return a tool call as text, for counting."""
    return f"{call.name} {call.arguments}"
