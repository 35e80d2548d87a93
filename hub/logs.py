"""The hub's log: one JSON object a line on stderr (plain lines on a terminal), secrets masked."""

import logging
import sys
from datetime import UTC, datetime
from typing import Any

import orjson

from quantum_suite.core.masking import mask_text, mask_value

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return what was given as `extra`, masked by name and by shape."""
    given = {key: value for key, value in vars(record).items() if key not in _STANDARD}
    masked: dict[str, Any] = mask_value(given)
    return masked


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object; what was given as `extra` becomes fields of it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": mask_text(record.getMessage()),
            **_fields(record),
        }
        if record.exc_info:
            line["traceback"] = mask_text(self.formatException(record.exc_info))
        return orjson.dumps(line, default=str).decode()


class PlainFormatter(logging.Formatter):
    """Formats a record for a person at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with extra fields behind the message."""
        tail = "".join(f"  {key}={value}" for key, value in _fields(record).items())
        when = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")  # local time
        text = f"{when} {record.levelname.lower():7} {record.getMessage()}{tail}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return mask_text(text)


def configure_logging(level: str) -> None:
    """Send the log to stderr at `level`; stdout belongs to the protocol and to commands' own output."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlainFormatter() if sys.stderr.isatty() else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("quantum_suite").setLevel(level.upper())
