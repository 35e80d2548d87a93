"""A name for a finding that stays when the file around it changes."""

import hashlib
import re
from collections import Counter

_SPACE = re.compile(r"\s+")
_LITERAL = re.compile(r"""(["'`])(?:\\.|(?!\1).)*(?:\1|$)""")
_CONTEXT_LINES = 3
_VERSION = "quantum-suite/finding/v1"


class Fingerprinter:
    """Names the findings of a scan. Give it the findings of a file together, in the order of their lines.

    The name is taken over the path, the rule family, and the first three flagged lines as shown (masked), with
    runs of white space made one and string literals emptied: an unkeyed hash of anything secret could be guessed
    back. Identical findings of a file are told apart by their order, counted from 0.
    """

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def name(self, path: str, family: str, snippet: str | None) -> str:
        """Return 32 hexadecimal digits."""
        lines = (snippet or "").splitlines()[:_CONTEXT_LINES]
        context = "\n".join(_SPACE.sub(" ", _LITERAL.sub(r"\1\1", line)).strip() for line in lines)
        key = "\0".join((_VERSION, path, family, context))
        occurrence = self._seen[key]
        self._seen[key] += 1
        return hashlib.sha256(f"{key}\0{occurrence}".encode("utf-8", "backslashreplace")).hexdigest()[:32]
