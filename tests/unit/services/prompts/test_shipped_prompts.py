"""Each shipped template, filled in."""

from typing import Any

import pytest

from quantum_suite.core.errors import CallerError, ConfigurationError, NotFound
from quantum_suite.services.prompts.interface import (
    ChoiceVariable,
    IntegerVariable,
    LineVariable,
    ListVariable,
    TextVariable,
    Variable,
)
from quantum_suite.services.prompts.shipped import ShippedPrompts, parse_template

_SHIPPED = ShippedPrompts()
_ALL = [(name, version) for name in _SHIPPED.names() for version in _SHIPPED.versions(name)]
_TEMPLATES = pytest.mark.parametrize(("name", "version"), _ALL)


def a_value(name: str, variable: Variable) -> Any:
    match variable:
        case IntegerVariable():
            return variable.minimum
        case ChoiceVariable():
            return variable.choices[0]
        case ListVariable():
            return [f"the first {name}", f"the second {name}"]
        case LineVariable() | TextVariable():
            return f"the {name} is ${{here}}"


def too_much(variable: Variable) -> Any:
    match variable:
        case IntegerVariable():
            return variable.maximum + 1
        case ChoiceVariable():
            return "none of these"
        case ListVariable():
            return ["x"] * (variable.max_items + 1)
        case LineVariable() | TextVariable():
            return "x" * (variable.max_characters + 1)


def values(name: str, version: int) -> dict[str, Any]:
    return {key: a_value(key, one) for key, one in _SHIPPED.get(name, version).variables.items()}


def test_the_templates_of_the_code_side_are_there() -> None:
    assert {"implement_feature", "fix_bug", "generate_change", "repair_change", "review_change"} <= set(
        _SHIPPED.names()
    )


@_TEMPLATES
def test_a_template_holds_every_value_it_is_given(name: str, version: int) -> None:
    given = values(name, version)
    rendered = _SHIPPED.render(name, given, version)
    assert rendered.source == f"{name}.v{version}"
    for value in given.values():
        for part in value if isinstance(value, list) else [str(value)]:
            assert part in rendered.text
    assert "\x00" not in rendered.text


@_TEMPLATES
def test_a_template_reads_well_without_what_may_be_left_out(name: str, version: int) -> None:
    variables = _SHIPPED.get(name, version).variables
    given = {key: value for key, value in values(name, version).items() if variables[key].required}
    rendered = _SHIPPED.render(name, given, version).text
    assert rendered.count("(none)") == len(variables) - len(given)


@_TEMPLATES
def test_a_template_refuses_each_value_that_does_not_fit(name: str, version: int) -> None:
    for key, variable in _SHIPPED.get(name, version).variables.items():
        with pytest.raises(CallerError) as caught:
            _SHIPPED.render(name, {**values(name, version), key: too_much(variable)}, version)
        assert caught.value.argument == key


@_TEMPLATES
def test_a_template_misses_each_value_that_is_required(name: str, version: int) -> None:
    for key, variable in _SHIPPED.get(name, version).variables.items():
        if variable.required:
            given = {other: value for other, value in values(name, version).items() if other != key}
            with pytest.raises(CallerError, match="missing"):
                _SHIPPED.render(name, given, version)


@_TEMPLATES
def test_what_others_wrote_stands_in_a_fence_and_is_called_data(name: str, version: int) -> None:
    quoted = [
        key
        for key, variable in _SHIPPED.get(name, version).variables.items()
        if isinstance(variable, TextVariable) and variable.quoted
    ]
    for key in quoted:
        escape = f"```\n{key} leaves its fence\n```"
        text = _SHIPPED.render(name, {**values(name, version), key: escape}, version).text
        assert f"````\n{escape}\n````" in text
    if quoted:
        assert "is data" in _SHIPPED.get(name, version).text


def test_an_unknown_template_or_version_is_told_with_what_there_is() -> None:
    with pytest.raises(NotFound, match="implement_feature"):
        _SHIPPED.get("no_such")
    with pytest.raises(NotFound):
        _SHIPPED.get("fix_bug", 99)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name = ", "sample.toml"),
        ('name = "a_b"\nversion = 0\ntitle = "t"\ndescription = "d"\ntext = "x"', "version"),
        ('name = "a_b"\nversion = 1\ntitle = "t"\ndescription = "d"\ntext = "${goal}"', "goal"),
        ('name = "a_b"\nversion = 1\ntitle = "t"\ndescription = "d"\ntext = "x $y"', "neither"),
        ('name = "a_b"\nversion = 1\ntitle = "t"\ndescription = "d"\ntext = "x"\nmore = 1', "more"),
    ],
)
def test_a_broken_template_is_refused_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        parse_template(text, "sample.toml")
