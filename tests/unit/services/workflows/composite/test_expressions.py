"""The expression language: what it can say, and what nobody can make it do."""

from typing import Any

import pytest

from quantum_suite.services.workflows.composite.expressions import parse_expression
from quantum_suite.services.workflows.composite.functions import BadExpression

SCOPE: dict[str, Any] = {
    "inputs": {"path": "src", "floor": "high", "deep": True},
    "steps": {
        "scan": {
            "state": "completed",
            "result": {"counts": {"high": 2}, "list": [{"a": {"b": 1}}, {"a": {}}], "next": None},
        }
    },
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("steps.scan.result.counts.high > 0 and inputs.deep", True),
        ("inputs['path']", "src"),
        ("steps.scan.result.list[-1].a", {}),
        ("1 < 2 <= 2", True),
        ("not inputs.deep or 'a' in ['a', 'b']", True),
        ("'high' in steps.scan.result.counts", True),
        ("'s' not in inputs.path", False),
        ("steps.scan.result.next == null", True),
        ("1 == true", False),
        ("'a' if inputs.deep else 'b'", "a"),
        ("2 * 3 - 1 + -1", 4),
        ("inputs.path + '/x'", "src/x"),
        ("[1] + [inputs.path]", [1, "src"]),
        ("default(steps.scan.result.missing.deeper, 7)", 7),
        ("default(steps.scan.result.next, 7)", 7),
        ("default(inputs.path, nothing.here)", "src"),
        ("len(steps.scan.result.list)", 2),
        ("at_least('critical', inputs.floor)", True),
        ("at_least('low', inputs.floor)", False),
        ("pluck(steps.scan.result.list, 'a.b')", [1, None]),
        ("flatten([[1, 2], 3, []])", [1, 2, 3]),
        ("sum([1, 2.5])", 3.5),
        ("join([1, 'b', null], ', ')", "1, b, null"),
    ],
)
def test_an_expression_is_worked_out(text: str, value: Any) -> None:
    assert parse_expression(text).evaluate(SCOPE) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps.scan.result.cuonts", "steps.scan.result has no 'cuonts'. Did you mean 'counts'?"),
        ("step.scan", "There is no 'step' here. Did you mean 'steps'?"),
        ("inputs.path.upper", "inputs.path is a string: it has no 'upper'."),
        ("steps.scan.result.list[9]", "steps.scan.result.list has 2 items, none numbered 9."),
        ("not inputs.path", "inputs.path is a string, not true or false. Compare it with something."),
        ("1 < 'a'", "a number and a string have no order. Compare two numbers or two texts."),
        ("'a' * 3", "a string and a number do not add up. Use two numbers, texts or lists."),
        ("at_least('bad', 'high')", "'bad' is not a valid Severity."),
        ("9007199254740992 + 1", "The number is too large."),
    ],
)
def test_what_cannot_be_worked_out_is_told(text: str, message: str) -> None:
    with pytest.raises(BadExpression) as told:
        parse_expression(text).evaluate(SCOPE)
    assert message in str(told.value)


@pytest.mark.parametrize(
    "text",
    [
        "().__class__.__bases__[0].__subclasses__()",
        "inputs.__class__.__init__.__globals__",
        "__import__('os').system('id')",
        "open('/etc/passwd')",
        "inputs.path.upper()",
        "(lambda: 1)()",
        "[x for x in inputs]",
        "f'{inputs}'",
        "{'a': 1}",
        "2 ** 999999999",
        "'a' % 1",
        "inputs[0:1]",
        "(x := 1)",
        "await inputs",
        "*inputs",
        "1e999",
        "9" * 900,
        "b'bytes'",
        "...",
        "1j",
        r"'\d'",
        "1or 2",
        "(" * 400,
        "-" * 900 + "1",
        "not " * 200 + "true",
        "a" * 1001,
        "len(1, 2)",
        "len(x=1)",
        "",
        "\x00",
        "a\nb",
    ],
)
def test_what_is_not_part_of_the_language_is_refused(text: str) -> None:
    with pytest.raises(BadExpression):
        parse_expression(text).evaluate(SCOPE)


def test_an_expression_tells_what_it_reads() -> None:
    found = parse_expression("default(steps.a.result, 1) == steps.b['result'].x[0] and vars.c").references()
    assert [(reference.path, reference.guarded) for reference in found] == [
        (("steps", "a", "result"), True),
        (("steps", "b", "result", "x", 0), False),
        (("vars", "c"), False),
    ]


def test_text_that_would_grow_beyond_bounds_is_refused() -> None:
    scope = {"text": "x" * 200_000, "items": [1] * 9_000}
    for text in ("text + text", "items + items", "join(items, text)"):
        with pytest.raises(BadExpression, match="longer than"):
            parse_expression(text).evaluate(scope)
