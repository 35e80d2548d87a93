"""Which languages are indexed, how a file tells its language, and which grammar reads it.

Grammars come one wheel each, with the suite; none is downloaded.
"""

import importlib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Language, Query

MARKDOWN = "markdown"
TEXT = "text"
DOCUMENTS = frozenset({MARKDOWN, TEXT})


@dataclass(frozen=True, slots=True)
class LanguageSpec:
    """One programming language."""

    name: str
    module: str
    """The package that carries its grammar."""
    function: str
    suffixes: tuple[str, ...]
    queries: str
    """The name of its query files."""
    opened_by: str
    """What ends a signature where a body begins."""


_JS = (".js", ".mjs", ".cjs", ".jsx")
_CPP = (".cc", ".cpp", ".cxx", ".c++", ".hh", ".hpp", ".hxx", ".ipp", ".cu", ".cuh")
SPECS = {
    spec.name: spec
    for spec in (
        LanguageSpec("python", "tree_sitter_python", "language", (".py", ".pyi", ".pyw"), "python", ":"),
        LanguageSpec("javascript", "tree_sitter_javascript", "language", _JS, "javascript", "{"),
        LanguageSpec(
            "typescript",
            "tree_sitter_typescript",
            "language_typescript",
            (".ts", ".mts", ".cts"),
            "typescript",
            "{",
        ),
        LanguageSpec("tsx", "tree_sitter_typescript", "language_tsx", (".tsx",), "typescript", "{"),
        LanguageSpec("go", "tree_sitter_go", "language", (".go",), "go", "{"),
        LanguageSpec("java", "tree_sitter_java", "language", (".java",), "java", "{"),
        LanguageSpec("rust", "tree_sitter_rust", "language", (".rs",), "rust", "{"),
        LanguageSpec("c", "tree_sitter_c", "language", (".c", ".h"), "c", "{"),
        LanguageSpec("cpp", "tree_sitter_cpp", "language", _CPP, "cpp", "{"),
        LanguageSpec("csharp", "tree_sitter_c_sharp", "language", (".cs", ".csx"), "csharp", "{"),
        LanguageSpec("ruby", "tree_sitter_ruby", "language", (".rb", ".rake", ".gemspec", ".ru"), "ruby", ""),
        LanguageSpec("php", "tree_sitter_php", "language_php", (".php", ".phtml"), "php", "{"),
        LanguageSpec("shell", "tree_sitter_bash", "language", (".sh", ".bash", ".ksh", ".zsh"), "shell", "{"),
    )
}
_BY_SUFFIX = {suffix: spec.name for spec in SPECS.values() for suffix in spec.suffixes} | {
    ".md": MARKDOWN,
    ".markdown": MARKDOWN,
    ".mdx": MARKDOWN,
    ".txt": TEXT,
    ".rst": TEXT,
    ".adoc": TEXT,
    ".asciidoc": TEXT,
    ".org": TEXT,
}
_BY_NAME = {
    "rakefile": "ruby",
    "gemfile": "ruby",
    "readme": TEXT,
    "license": TEXT,
    "copying": TEXT,
    "notice": TEXT,
    "changelog": TEXT,
    "changes": TEXT,
    "contributing": TEXT,
    "authors": TEXT,
    "news": TEXT,
    "todo": TEXT,
}
LANGUAGES = (*SPECS, MARKDOWN, TEXT)
"""Every value a file's language can have."""

_CPP_HEADER = (b"\nclass ", b"\nnamespace ", b"\ntemplate", b"std::", b"public:", b"private:")


def language_of(path: str) -> str | None:
    """Return the language a path is of by its name; None for what is not indexed."""
    name = PurePosixPath(path).name.lower()
    suffix = PurePosixPath(name).suffix
    return _BY_SUFFIX.get(suffix) or _BY_NAME.get(name)


def refined(language: str, path: str, source: bytes) -> str:
    """Return the language once the content is known: a header may be C or C++."""
    if language == "c" and path.endswith(".h") and any(mark in source for mark in _CPP_HEADER):
        return "cpp"
    return language


def is_document(language: str) -> bool:
    """Whether a language is of texts rather than of programs."""
    return language in DOCUMENTS


@dataclass(frozen=True, slots=True)
class Grammar:
    """A loaded language: its parser's tables, and what is looked for in its trees."""

    spec: LanguageSpec
    language: "Language"
    definitions: "Query"
    names: "Query"
    errors: "Query"


@lru_cache(maxsize=len(SPECS))
def load_grammar(name: str) -> Grammar:
    """Load a grammar and its queries; only worker processes do."""
    from tree_sitter import Language, Query  # heavy: loaded where files are parsed, and nowhere else

    spec = SPECS[name]
    language = Language(getattr(importlib.import_module(spec.module), spec.function)())
    folder = resources.files("quantum_suite.services.knowledge.parsing") / "queries"

    def query(kind: str) -> Query:
        return Query(language, (folder / kind / f"{spec.queries}.scm").read_text("utf-8"))

    errors = Query(language, "(ERROR) @error (MISSING) @error")
    return Grammar(spec, language, query("definitions"), query("names"), errors)
