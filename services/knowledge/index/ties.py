"""Whether a use of a name is tied to a definition: by standing in its file, or by an import that names it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

_WORDS = re.compile(r"\w+")
_BRACES = re.compile(r"\{([^{}]*)\}")
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


@dataclass(frozen=True, slots=True)
class Imports:
    """What a file imports: whole modules, and single names out of modules."""

    modules: frozenset[str]
    """Words that name what is imported whole: any name may come from there."""
    names: frozenset[str]
    """Names that are imported one by one."""
    sources: frozenset[str]
    """Words of where those come from."""

    def tie(self, name: str, home: frozenset[str]) -> bool:
        """Whether they tie a name to a file that is imported as `home`."""
        return bool(self.modules & home) or (name in self.names and bool(self.sources & home))


def read_imports(texts: Iterable[str]) -> Imports:
    """Return what import statements import, by the words in them."""
    modules: set[str] = set()
    names: set[str] = set()
    sources: set[str] = set()
    for text in texts:
        words = _WORDS.findall(text)
        single = _single_names(text, words)
        sources.update(words)
        if single is None or "*" in text:
            modules.update(words)
        else:
            # What is named may be a module itself: `from package import module`.
            names.update(single)
            modules.update(single)
    return Imports(frozenset(modules), frozenset(names), frozenset(sources))


def _single_names(text: str, words: list[str]) -> list[str] | None:
    """Return the names a statement takes out of a module; None when it imports the module whole."""
    if text.startswith("from ") and " import " in text:
        return _WORDS.findall(text.partition(" import ")[2])
    if text.startswith(("use ", "pub use ")):
        braces = _BRACES.findall(text)
        return _WORDS.findall(" ".join(braces)) if braces else words[-1:]
    if text.startswith(("import {", "import type {", "export {")):
        return _WORDS.findall(" ".join(_BRACES.findall(text)))
    return None


def is_tied(name: str, using: str, language: str, imports: Imports, defining: str) -> bool:
    """Whether a use in the file `using` means the definition in the file `defining`, as far as can be told."""
    if using == defining:
        return True
    if language in _SAME_FOLDER and PurePosixPath(using).parent == PurePosixPath(defining).parent:
        return True
    return imports.tie(name, place_words(defining))
