"""Subjects and the patterns that match them, as NATS has them."""

import re

from quantum_suite.core.errors import CallerError

_DURABLE = re.compile(r"[A-Za-z0-9_-]{1,64}")

ROOT = "quantum.events"
EVERYTHING = f"{ROOT}.>"


def matches(pattern: str, subject: str) -> bool:
    """Whether a subject is meant by a pattern: `*` is one word, `>` at the end one or more."""
    wanted, words = pattern.split("."), subject.split(".")
    for place, word in enumerate(wanted):
        if word == ">":
            return len(words) > place
        if place >= len(words) or word not in ("*", words[place]):
            return False
    return len(words) == len(wanted)


def check_durable(name: str | None) -> None:
    """Raise CallerError for what no broker takes as the name of a consumer."""
    if name is not None and _DURABLE.fullmatch(name) is None:
        raise CallerError(
            f"'{name}' is no name for a consumer.", "Use up to 64 letters, digits, - and _.", argument="durable"
        )


def check_subject(subject: str, *, pattern: bool = False) -> None:
    """Raise CallerError for what is no subject of the bus; with `pattern`, no pattern over its subjects."""
    words = subject.split(".")
    wild = {">", "*"} if pattern else set()
    fine = all(word in wild or (word.isprintable() and not set(word) & set(" *>")) for word in words)
    if not fine or "" in words or ">" in words[:-1] or not subject.startswith(f"{ROOT}."):
        raise CallerError(
            f"'{subject}' is no subject of the bus.",
            f"Name one below {ROOT}, words parted by dots.",
            argument="subject",
        )
