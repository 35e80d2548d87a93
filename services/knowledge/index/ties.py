"""Whether a use of a name is tied to a definition: by standing in its file, or by an import that names it."""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

_WORDS = re.compile(r"\w+")
_SAME_FOLDER = frozenset({"go", "java"})
"""Where the files of a folder see each other without imports."""
_INDEX_FILES = frozenset({"__init__", "index", "mod", "lib", "main"})
"""Files that are imported by the name of their folder."""


def place_words(path: str) -> frozenset[str]:
    """Return the words an import names a file by: its stem, or its folder's name."""
    pure = PurePosixPath(path)
    if pure.stem in _INDEX_FILES and pure.parent.name:
        return frozenset({pure.parent.name})
    return frozenset({pure.stem, pure.parent.name} if pure.suffix in (".go", ".cs", ".php") else {pure.stem})


def is_tied(name: str, using: str, language: str, imports: Iterable[str], defining: str) -> bool:
    """Whether a use in the file `using` means the definition in the file `defining`, as far as can be told.

    An import ties when it names the definition itself, or the file it stands in.
    """
    if using == defining:
        return True
    if language in _SAME_FOLDER and PurePosixPath(using).parent == PurePosixPath(defining).parent:
        return True
    home = place_words(defining)
    for text in imports:
        words = set(_WORDS.findall(text))
        if words & home or (name in words and _is_own(words, defining)):
            return True
    return False


def _is_own(words: set[str], defining: str) -> bool:
    """Whether an import that names the definition names a folder on the way to it too."""
    return bool(words & set(PurePosixPath(defining).parts))
