"""Secrets never leave: values under telling names, and values that look like credentials, are masked."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

MASK = "***"

_SECRET_NAME = re.compile(
    r"(?i)(?:^|[_\-.])(?:pass(?:word|wd|phrase)?|secret|token|api[_\-]?key|apikey|private[_\-]?key|"
    r"credentials?|authorization|auth|cookie|session[_\-]?id|signature)(?:$|[_\-.])"
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

# Shapes with a fixed, documented prefix: few false alarms, no entropy guessing.
_SECRET_VALUE = re.compile(
    r"(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{60,}|glpat-[A-Za-z0-9_\-]{20,}|"
    r"(?:AKIA|ASIA)[A-Z0-9]{16}|xox[abprs]-[A-Za-z0-9-]{10,}|sk-[A-Za-z0-9_\-]{20,}|"
    r"qs_[a-z0-9]{8,}_[A-Za-z0-9_\-]{20,}|AIza[A-Za-z0-9_\-]{35}|"
    # Not from within a word: the search would start over at every eyJ of a long one.
    r"(?<![A-Za-z0-9_\-])eyJ[A-Za-z0-9_\-]{10,}\.eyJ[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]+|"
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$))"
)


_MARKS = (
    *(
        "ghp_",
        "gho_",
        "ghu_",
        "ghs_",
        "ghr_",
        "github_pat_",
        "glpat-",
        "AKIA",
        "ASIA",
        "xox",
        "sk-",
        "qs_",
        "AIza",
    ),
    *("eyJ", "-----BEGIN "),
)
"""One of these is in every value of such a shape: most texts hold none, which is found out much sooner."""


def is_secret_name(name: str) -> bool:
    """Whether a parameter, header or key of this name usually carries a secret."""
    return _SECRET_NAME.search(_CAMEL.sub("_", name)) is not None


def secret_spans(text: str) -> list[tuple[int, int]]:
    """Return where credentials of a recognised shape stand in `text`, in order."""
    return [match.span() for match in _SECRET_VALUE.finditer(text)] if _may_hold_secrets(text) else []


def mask_text(text: str) -> str:
    """Replace every credential of a recognised shape in `text` by a mask."""
    return _SECRET_VALUE.sub(MASK, text) if _may_hold_secrets(text) else text


def mask_value(value: Any) -> Any:
    """Return a copy of a JSON-like value with secrets masked, by name and by shape."""
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, Mapping):
        return {k: MASK if is_secret_name(str(k)) and v else mask_value(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [mask_value(item) for item in value]
    return value


def _may_hold_secrets(text: str) -> bool:
    return any(mark in text for mark in _MARKS)
