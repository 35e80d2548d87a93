"""Imports tie uses to definitions, where they do."""

import pytest

from quantum_suite.services.knowledge.index.ties import is_tied, place_words, read_imports


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("shop/taxes.py", {"taxes"}),
        ("shop/__init__.py", {"shop"}),
        ("web/index.ts", {"web"}),
        ("pkg/taxes.go", {"pkg", "taxes"}),
    ],
)
def test_a_file_is_imported_by_its_stem_or_its_folder(path: str, words: set[str]) -> None:
    assert place_words(path) == words


@pytest.mark.parametrize(
    ("statement", "language", "defining", "tied"),
    [
        ("from shop.taxes import with_tax", "python", "shop/taxes.py", True),
        ("from shop.taxes import other", "python", "shop/taxes.py", False),
        ("from shop.taxes import *", "python", "shop/taxes.py", True),
        ("from shop import taxes", "python", "shop/taxes.py", True),
        ("import shop.taxes", "python", "shop/taxes.py", True),
        ("from elsewhere import with_tax", "python", "shop/taxes.py", False),
        ('import { with_tax } from "./taxes"', "typescript", "src/taxes.ts", True),
        ('import { other } from "./taxes"', "typescript", "src/taxes.ts", False),
        ('import * as taxes from "./taxes"', "typescript", "src/taxes.ts", True),
        ('require("./taxes")', "javascript", "src/taxes.js", True),
        ("use crate::taxes::with_tax", "rust", "src/taxes.rs", True),
        ("use crate::taxes::{with_tax, other}", "rust", "src/taxes.rs", True),
        ("use crate::taxes::other", "rust", "src/taxes.rs", False),
        ("use crate::taxes", "rust", "src/taxes.rs", True),
        ('#include "taxes.h"', "c", "src/taxes.h", True),
        ('"example.org/shop/taxes"', "go", "shop/taxes/rates.go", True),
    ],
)
def test_a_statement_ties_what_it_imports(statement: str, language: str, defining: str, tied: bool) -> None:
    assert is_tied("with_tax", "src/using", language, read_imports([statement]), defining) is tied


def test_scope_ties_without_imports() -> None:
    nothing = read_imports([])
    assert is_tied("x", "a.py", "python", nothing, "a.py")
    assert not is_tied("x", "a.py", "python", nothing, "b.py")
    assert is_tied("x", "pkg/a.go", "go", nothing, "pkg/b.go")
    assert not is_tied("x", "pkg/a.go", "go", nothing, "other/b.go")
