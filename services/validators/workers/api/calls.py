"""Whether the arguments of a call fit what is called."""

from __future__ import annotations

import contextlib
import inspect
import types
from typing import Any

from quantum_suite.services.validators.workers.api.problems import Problem, nearest
from quantum_suite.services.validators.workers.api.references import Call

_CONTEXTLIB = contextlib.contextmanager.__code__.co_filename


def _signature(thing: Any) -> inspect.Signature | None:
    """Return how something is called, or None where what it shows may not be what it takes."""
    if isinstance(thing, type):
        if type(thing).__call__ is not type.__call__ or hasattr(thing, "__signature__"):
            return None
        made = next((k for k in thing.__mro__ if "__new__" in vars(k) and k is not object), None)
        begun = next((k for k in thing.__mro__ if "__init__" in vars(k) and k is not object), None)
        if (made is not None and begun is not None) or (made is None and begun is None):
            return None
    elif isinstance(thing, types.FunctionType):
        if hasattr(thing, "__signature__"):
            return None
        if hasattr(thing, "__wrapped__") and thing.__code__.co_filename != _CONTEXTLIB:
            return None
    elif isinstance(thing, types.MethodType):
        if hasattr(thing.__func__, "__wrapped__") or hasattr(thing.__func__, "__signature__"):
            return None
    elif not isinstance(thing, (types.BuiltinFunctionType, types.MethodDescriptorType)):
        return None
    try:
        return inspect.signature(thing)
    except (ValueError, TypeError):
        return None
    except BaseException:
        return None


def misfit(thing: Any, shown: str, call: Call, *, bound: bool) -> Problem | None:
    """Return how the arguments written out do not fit what is called."""
    signature = _signature(thing)
    if signature is None:
        return None
    parameters = list(signature.parameters.values())
    if bound:
        parameters = parameters[1:]
    kinds = {parameter.kind for parameter in parameters}
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        for keyword in call.keywords:
            if keyword not in {p.name for p in named}:
                message = f"{shown}() takes no argument '{keyword}'"
                return Problem("unknown-argument", message, nearest(keyword, [p.name for p in named]))
    by_position = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if inspect.Parameter.VAR_POSITIONAL not in kinds and call.positional > len(by_position):
        message = f"{shown}() takes {len(by_position)} positional arguments, {call.positional} are given"
        return Problem("too-many-arguments", message, None)
    plain = isinstance(thing, (type, types.FunctionType, types.MethodType)) and thing.__module__ != "inspect"
    if call.open_ended or not plain:
        # What C code shows of its defaults is not always all of them; inspect's defaults are its mark for none.
        return None
    given = {p.name for p in by_position[: call.positional]} | set(call.keywords)
    lacking = [
        p.name
        for p in parameters
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name not in given
    ]
    if lacking:
        return Problem("missing-argument", f"{shown}() lacks the argument '{lacking[0]}'", None)
    return None
