"""Classes of which it can be known what their instances have."""

from __future__ import annotations

import abc
import inspect
import re
import types
from typing import Any


def is_ordinary(thing: Any) -> bool:
    """Whether no metaclass but that of abstract classes has a say in what a class has."""
    return type(thing) in (type, abc.ABCMeta)


def is_plain(thing: Any) -> bool:
    """Whether what instances have can be known from the class and its source."""
    if not isinstance(thing, type) or not is_ordinary(thing):
        return False
    if (
        inspect.getattr_static(thing, "__getattribute__") is not inspect.getattr_static(object, "__getattribute__")
        and thing.__module__ != "builtins"
    ):
        return False
    if any("__getattr__" in vars(kind) for kind in thing.__mro__) or issubclass(thing, types.SimpleNamespace):
        return False
    made = next((vars(kind)["__new__"] for kind in thing.__mro__ if "__new__" in vars(kind)), None)
    return isinstance(made, types.BuiltinFunctionType) or thing.__module__.split(".")[0] == "pathlib"


def is_annotated(thing: type, name: str) -> bool:
    """Whether a class's annotations have a name, or cannot be read: Python 3.14 works them out when they are."""
    try:
        return name in getattr(thing, "__annotations__", {})
    except Exception:
        return True


def with_subclasses(thing: type) -> list[type]:
    """Return a class and those that making an instance of it may really give."""
    found = [thing]
    if thing.__module__.split(".")[0] == "pathlib":
        for kind in found:
            found.extend(kind.__subclasses__())
    return found


def mentions(thing: type, name: str) -> bool:
    """Whether a class has an attribute, or its source might give it to instances."""
    if hasattr(thing, name) or name in dir(thing):
        return True
    for kind in thing.__mro__:
        if is_annotated(kind, name):
            return True
        if not kind.__flags__ & (1 << 9):  # Py_TPFLAGS_HEAPTYPE: classes written in C have no source to read
            continue
        try:
            source = inspect.getsource(kind)
        except (OSError, TypeError):
            return True
        if re.search(rf"\b{re.escape(name)}\b", source) or re.search(r"setattr|__dict__", source):
            return True
    return False
