"""Answers that are JSON by a schema: asked for, read, mended, checked, and asked for again with what was wrong."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic_core import SchemaError as PatternError
from pydantic_core import SchemaValidator, ValidationError, core_schema

from quantum_suite.core.errors import CallerError
from quantum_suite.services.llm.interface import FinishReason, Message, ModelRequest
from quantum_suite.services.llm.json_repair import CUT, UNCLOSED, NoJson, read_json
from quantum_suite.services.llm.masking import with_instruction

_MOST_ERRORS = 5
_LONGEST_ERROR = 300
_LONGEST_ANSWER = 4000


MOST_STEPS = 200_000
"""Keywords looked at in one check: references can make a small schema take longer than the world lasts."""


class TooManySteps(Exception):
    """A check is given up."""


class Steps:
    """Counts the keywords a check looks at. For one check at a time."""

    def __init__(self) -> None:
        self._left = MOST_STEPS

    def begin(self) -> None:
        """Count anew."""
        self._left = MOST_STEPS

    def counted(self, check: Callable[..., Iterable[Any] | None]) -> Callable[..., Iterable[Any] | None]:
        """Return a keyword's check that raises TooManySteps where it is one too many."""

        def counting(*args: Any) -> Iterable[Any] | None:
            self._left -= 1
            if self._left < 0:
                raise TooManySteps
            return check(*args)

        return counting


class NotAccepted(ValueError):
    """An answer is no JSON, or not what the schema wants; the message is for the model to read."""


@dataclass(frozen=True, slots=True)
class AcceptedJson:
    """What an answer holds."""

    data: Any
    repairs: tuple[str, ...]


class AnswerSchema:
    """A checked JSON Schema (2020-12). Fetches nothing, and its patterns take linear time whatever they are."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        # Slow to import, and needed by few calls.
        import jsonschema
        from referencing import Registry
        from referencing.exceptions import Unresolvable

        self._schema = dict(schema)
        self._unresolvable = Unresolvable
        extend: Any = jsonschema.validators.extend
        self._steps = Steps()
        keywords = {**jsonschema.Draft202012Validator.VALIDATORS, **_keywords(jsonschema.ValidationError)}
        counted = {name: self._steps.counted(check) for name, check in keywords.items()}
        validator = extend(jsonschema.Draft202012Validator, counted)
        try:
            jsonschema.Draft202012Validator.check_schema(self._schema)
            patterns = list(_patterns(self._schema))
            for pattern in patterns:
                _linear(pattern)
        except jsonschema.SchemaError as error:
            raise _no_schema(f"{error.json_path}: {error.message}") from error
        except PatternError as error:
            raise _no_schema(f"a pattern cannot be used: {str(error).splitlines()[0]}") from error
        except RecursionError as error:
            raise _no_schema("it is nested too deeply") from error
        if patterns and "unevaluatedProperties" in json.dumps(self._schema):
            raise _no_schema("unevaluatedProperties and patterns do not go together here")
        # An empty registry: a $ref that leads outside is an error, never a request to somewhere.
        self._validator = validator(
            self._schema, registry=Registry(), format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
        )

    def accept(self, text: str, reason: FinishReason, restore: Callable[[Any], Any]) -> AcceptedJson:
        """Return the JSON of an answer, with masked values put back. Raises NotAccepted.

        An answer that the limit on its length cut off is not mended: what is missing may be most of it.
        """
        try:
            found, repairs = read_json(text)
        except NoJson as error:
            raise NotAccepted(f"The answer is not JSON: {error}.") from error
        if reason == "length" and not {CUT, UNCLOSED}.isdisjoint(repairs):
            raise NotAccepted("The answer was cut off because it is too long. Answer more briefly.")
        data = restore(found)
        self._steps.begin()
        try:
            errors = sorted(self._validator.iter_errors(data), key=lambda error: list(map(str, error.path)))
        except self._unresolvable as error:
            raise _no_schema(f"{error}") from error
        except RecursionError as error:
            raise NotAccepted("The answer is nested too deeply.") from error
        except TooManySteps as error:
            raise _no_schema(f"checking an answer against it takes more than {MOST_STEPS} steps") from error
        if errors:
            told = [f"- {error.json_path}: {error.message[:_LONGEST_ERROR]}" for error in errors[:_MOST_ERRORS]]
            raise NotAccepted("The JSON does not fit the schema:\n" + "\n".join(told))
        return AcceptedJson(data, repairs)

    def by_instruction(self, request: ModelRequest) -> ModelRequest:
        """Return the request with the schema put into words, for servers that know no schemas."""
        told = json.dumps(request.output_schema, ensure_ascii=False)
        instruction = f"Answer with JSON alone, without any other words, that fits this JSON Schema:\n{told}"
        return replace(request, messages=with_instruction(request.messages, instruction), output_schema=None)


def asked_again(request: ModelRequest, answer: str, problem: str) -> ModelRequest:
    """Return the request that asks for a better answer, with the one that was not accepted and why."""
    # In words as well: some servers are asked by their own means and do not heed them.
    schema = json.dumps(request.output_schema, ensure_ascii=False)
    again = (
        Message("assistant", answer[:_LONGEST_ANSWER] or "(nothing)"),
        Message("user", f"{problem}\n\nAnswer again, with JSON alone that fits this JSON Schema:\n{schema}"),
    )
    return replace(request, messages=(*request.messages, *again))


def _no_schema(problem: str) -> CallerError:
    return CallerError(
        f"The output schema is none: {problem[:_LONGEST_ERROR]}.",
        "Give a JSON Schema 2020-12 that stands by itself.",
        argument="output_schema",
    )


def _patterns(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        if isinstance(schema.get("patternProperties"), Mapping):
            yield from schema["patternProperties"]
        for value in schema.values():
            yield from _patterns(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _patterns(value)


def _linear(pattern: str) -> SchemaValidator:
    """Return a check by pydantic's own regular expressions: they never backtrack, as Python's may for ever."""
    return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))


def _matches(pattern: str, text: str) -> bool:
    try:
        _linear(pattern).validate_python(text)
    except ValidationError:
        return False
    return True


def _keywords(error: Any) -> dict[str, Any]:
    """Return the keywords with patterns, checked without Python's regular expressions; `error` makes one."""

    def pattern(_validator: Any, wanted: str, instance: Any, _schema: Any) -> Iterator[Any]:
        if isinstance(instance, str) and not _matches(wanted, instance):
            yield error(f"{instance[:60]!r} does not match {wanted!r}")

    def pattern_properties(
        validator: Any, wanted: Mapping[str, Any], instance: Any, _schema: Any
    ) -> Iterator[Any]:
        for one, inner in wanted.items() if isinstance(instance, Mapping) else ():
            for name, value in instance.items():
                if _matches(one, name):
                    yield from validator.descend(value, inner, path=name, schema_path=one)

    def additional_properties(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[Any]:
        known = schema.get("properties", {})
        patterns = schema.get("patternProperties", {})
        for name, value in instance.items() if isinstance(instance, Mapping) else ():
            if name in known or any(_matches(one, name) for one in patterns):
                continue
            if wanted is False:
                yield error(f"{name[:60]!r} is not a property the schema knows")
            else:
                yield from validator.descend(value, wanted, path=name)

    return {
        "pattern": pattern,
        "patternProperties": pattern_properties,
        "additionalProperties": additional_properties,
    }
