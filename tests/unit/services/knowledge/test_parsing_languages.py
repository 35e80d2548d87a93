"""Each language, on a sample that has what its programs are made of."""

from pathlib import Path

import pytest

from quantum_suite.services.knowledge.interface import ParsedFile
from quantum_suite.services.knowledge.parsing.languages import LANGUAGES, SPECS, language_of
from quantum_suite.services.knowledge.parsing.parse_file import parse_file

SAMPLES = Path(__file__).parent / "samples"
WITH_TAX = "Return the sum\nwith tax."


def sample(name: str) -> ParsedFile:
    language = language_of(name)
    assert language is not None
    return parse_file(name, language, (SAMPLES / name).read_bytes())


# (file, chunks as "kind qualified.name", the definition with the long docstring, some symbols)
EXPECTED = [
    (
        "shop.py",
        ["class Basket", "method Basket.__init__", "method Basket.total", "function checkout"],
        "Basket.total",
        ["variable RATE", "field Basket.limit", "function checkout.discounted"],
    ),
    (
        "shop.js",
        [
            "class Basket",
            "method Basket.constructor",
            "method Basket.total",
            "function checkout",
            "function everyItem",
            "function refund",
        ],
        "Basket.total",
        ["variable RATE"],
    ),
    (
        "shop.ts",
        ["class Payable", "class Currency", "class Status", "class Basket", "class Store", "function checkout"],
        "",
        ["interface Payable", "type Currency", "enum Status", "method Payable.total", "method Store.open"],
    ),
    ("shop.tsx", ["function BasketView", "function Empty"], "", []),
    (
        "shop.go",
        ["class Basket", "class Payable", "method Basket.Total", "function Checkout"],
        "Basket.Total",
        ["struct Basket", "interface Payable", "variable ErrEmpty", "constant Rate"],
    ),
    (
        "Shop.java",
        [
            "class Shop",
            "method Shop.Shop",
            "method Shop.total",
            "class Shop.Status",
            "class Payable",
            "class Point",
        ],
        "Shop.total",
        ["field Shop.RATE", "enum Shop.Status", "constant Shop.Status.PAID", "method Payable.total"],
    ),
    (
        "shop.rs",
        ["class Basket", "class Payable", "method Basket.total", "class Status", "function till.checkout"],
        "Basket.total",
        ["trait Payable", "constant RATE", "macro price", "namespace till"],
    ),
    (
        "shop.c",
        ["class basket", "class basket_t", "class status", "function basket_total", "function name_of"],
        "basket_total",
        ["macro RATE", "macro SQUARE", "constant status.PAID", "prototype with_tax"],
    ),
    (
        "shop.cpp",
        ["class shop.Basket", "method shop.Basket.total", "function shop.largest", "method shop.Basket.~Basket"],
        "shop.Basket.total",
        ["namespace shop", "prototype shop.Basket.total"],
    ),
    (
        "Shop.cs",
        [
            "class Example.Shop.Basket",
            "method Example.Shop.Basket.Basket",
            "method Example.Shop.Basket.Total",
            "class Example.Shop.IPayable",
            "class Example.Shop.Status",
        ],
        "",
        [
            "field Example.Shop.Basket.Rate",
            "property Example.Shop.Basket.Count",
            "constant Example.Shop.Status.Open",
        ],
    ),
    (
        "shop.rb",
        [
            "class Shop",
            "class Shop.Basket",
            "method Shop.Basket.initialize",
            "method Shop.Basket.total",
            "method Shop.Basket.empty",
        ],
        "Shop.Basket.total",
        ["module Shop", "constant Shop.RATE"],
    ),
    (
        "shop.php",
        ["class Basket", "method Basket.__construct", "method Basket.total", "class Payable", "function checkout"],
        "Basket.total",
        ["constant RATE", "interface Payable", "method Payable.total"],
    ),
    ("shop.sh", ["function total", "function checkout"], "total", ["variable RATE"]),
]


def test_every_language_has_a_sample() -> None:
    assert {language_of(name) for name, _, _, _ in EXPECTED} == set(SPECS)
    assert set(LANGUAGES) == {*SPECS, "markdown", "text"}


@pytest.mark.parametrize(("name", "chunks", "documented", "symbols"), EXPECTED)
def test_definitions_are_found_with_what_is_written_about_them(
    name: str, chunks: list[str], documented: str, symbols: list[str]
) -> None:
    parsed = sample(name)
    assert parsed.errors == 0
    found = [f"{chunk.kind} {chunk.qualified_name}" for chunk in parsed.chunks if chunk.kind != "module"]
    assert set(chunks) <= set(found)
    assert len(found) == len(set(found))
    names = {f"{symbol.kind} {symbol.qualified_name}" for symbol in parsed.symbols}
    assert set(symbols) <= names
    if documented:
        (chunk,) = [chunk for chunk in parsed.chunks if chunk.qualified_name == documented]
        assert chunk.docstring in (WITH_TAX, f"Total returns{WITH_TAX[6:]}")


@pytest.mark.parametrize("name", [name for name, _, _, _ in EXPECTED])
def test_what_a_class_is_for_is_told_from_the_comment_above_it_or_in_it(name: str) -> None:
    documented = [chunk.docstring for chunk in sample(name).chunks if chunk.kind == "class"]
    assert not documented or any("olds items." in text for text in documented)


@pytest.mark.parametrize("name", [name for name, _, _, _ in EXPECTED])
def test_places_and_texts_are_those_of_the_file(name: str) -> None:
    lines = (SAMPLES / name).read_text().split("\n")
    parsed = sample(name)
    for chunk in parsed.chunks:
        assert 1 <= chunk.start_line <= chunk.end_line <= len(lines)
        assert chunk.text.split("\n")[0] == lines[chunk.start_line - 1]
        assert set(chunk.text.split("\n")) <= set(lines)
    for symbol in parsed.symbols:
        assert symbol.name.rpartition(".")[2] in lines[symbol.line - 1] or any(
            symbol.name in line for line in lines[symbol.line - 1 : symbol.end_line]
        )
    for used, line, column, _ in parsed.references:
        assert lines[line - 1].encode()[column:].startswith(used.encode())


# (file, a name that is used, the definition it is used in)
USES = [
    ("shop.py", "with_tax", "Basket.total"),
    ("shop.py", "RATE", "Basket.total"),
    ("shop.py", "discounted", "checkout"),
    ("shop.js", "withTax", "Basket.total"),
    ("shop.js", "checkout", "refund"),
    ("shop.ts", "Paid", "checkout"),
    ("shop.ts", "withTax", "Basket.total"),
    ("shop.tsx", "Panel", "BasketView"),
    ("shop.go", "WithTax", "Basket.Total"),
    ("shop.go", "ErrEmpty", "Checkout"),
    ("Shop.java", "withTax", "Shop.total"),
    ("Shop.java", "Payable", "Shop"),
    ("shop.rs", "with_tax", "Basket.total"),
    ("shop.rs", "total", "till.checkout"),
    ("shop.c", "with_tax", "basket_total"),
    ("shop.c", "SQUARE", "basket_total"),
    ("shop.cpp", "with_tax", "shop.Basket.total"),
    ("Shop.cs", "WithTax", "Example.Shop.Basket.Total"),
    ("shop.rb", "with_tax", "Shop.Basket.total"),
    ("shop.php", "withTax", "Basket.total"),
    ("shop.php", "Basket", "checkout"),
    ("shop.sh", "with_tax", "total"),
    ("shop.sh", "total", "checkout"),
]


@pytest.mark.parametrize(("name", "used", "within"), USES)
def test_uses_are_found_where_they_stand(name: str, used: str, within: str) -> None:
    assert (used, within) in {(one, around) for one, _, _, around in sample(name).references}


@pytest.mark.parametrize("name", [name for name, _, _, _ in EXPECTED if name not in ("shop.tsx", "Shop.cs")])
def test_the_variables_of_a_function_are_no_uses_of_other_definitions(name: str) -> None:
    inside = [used for used, _, _, around in sample(name).references if around.lower().endswith("total")]
    assert "amount" not in inside


@pytest.mark.parametrize(
    ("name", "imported"),
    [
        ("shop.py", "from shop import taxes"),
        ("shop.js", 'import { round } from "./numbers.js"'),
        ("shop.ts", 'import { withTax } from "./taxes"'),
        ("shop.go", '"example.org/shop/taxes"'),
        ("Shop.java", "import org.example.shop.Taxes"),
        ("shop.rs", "use crate::taxes::with_tax"),
        ("shop.c", '#include "taxes.h"'),
        ("Shop.cs", "using Example.Taxes"),
        ("shop.rb", 'require_relative "taxes"'),
        ("shop.php", "use Example\\Taxes\\TaxTable"),
        ("shop.sh", "source ./taxes.sh"),
    ],
)
def test_chunks_carry_the_imports_of_their_file(name: str, imported: str) -> None:
    assert all(imported in chunk.imports for chunk in sample(name).chunks)


def test_signatures_end_where_bodies_begin() -> None:
    signatures = {symbol.qualified_name: symbol.signature for symbol in sample("shop.py").symbols}
    assert signatures["checkout"] == "async def checkout(basket: Basket, *, coupon=None)"
    assert signatures["Basket.total"] == "def total(self) -> Decimal"
    generic = {symbol.qualified_name: symbol.signature for symbol in sample("shop.ts").symbols}
    assert generic["Basket"] == "class Basket<T extends Item> implements Payable"


def test_a_class_shows_the_first_lines_of_its_methods_and_not_their_bodies() -> None:
    (basket,) = [chunk for chunk in sample("shop.py").chunks if chunk.qualified_name == "Basket"]
    assert "def total(self) -> Decimal:" in basket.text
    assert "limit = 5" in basket.text
    assert "taxes.with_tax" not in basket.text


def test_a_header_with_classes_is_read_as_cpp() -> None:
    parsed = parse_file(
        "shop.h", "c", b"#pragma once\nclass Basket {\npublic:\n  int total() const { return 1; }\n};\n"
    )
    assert (parsed.language, parsed.errors) == ("cpp", 0)
    assert {symbol.qualified_name for symbol in parsed.symbols} == {"Basket", "Basket.total"}


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("a/B.PY", "python"),
        ("x.pyi", "python"),
        ("a.mts", "typescript"),
        ("Rakefile", "ruby"),
        ("README", "text"),
        ("README.md", "markdown"),
        ("a.png", None),
        ("Makefile", None),
    ],
)
def test_a_path_tells_its_language(path: str, language: str | None) -> None:
    assert language_of(path) == language
