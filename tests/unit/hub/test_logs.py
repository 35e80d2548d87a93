"""The log is one JSON object a line, and no secret gets into it."""

import json
import logging
from typing import Any

from quantum_suite.hub.logs import JsonFormatter, PlainFormatter


def record(message: str, **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord("quantum_suite.hub", logging.WARNING, __file__, 1, message, (), None)
    vars(made).update(extra)
    return made


def test_extra_fields_stand_beside_the_message() -> None:
    line = json.loads(JsonFormatter().format(record("upstream is away", upstream="git")))
    assert line["message"] == "upstream is away"
    assert line["upstream"] == "git"
    assert line["level"] == "warning"


def test_secrets_are_masked_by_name_and_by_shape() -> None:
    token = "ghp_" + "a" * 36
    for text in (
        JsonFormatter().format(record(f"refused {token}", authorization="Bearer x")),
        PlainFormatter().format(record(f"refused {token}")),
    ):
        assert token not in text
        assert "Bearer x" not in text


def test_a_traceback_is_part_of_the_line() -> None:
    made = record("failed")
    try:
        raise ValueError("inside")
    except ValueError as error:
        made.exc_info = (type(error), error, error.__traceback__)
    line = JsonFormatter().format(made)
    assert "\n" not in line
    assert "ValueError: inside" in json.loads(line)["traceback"]
