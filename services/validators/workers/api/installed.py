"""Looks uses up in what is installed: modules are imported, objects are looked at."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
import sys
import types
from typing import Any

from quantum_suite.services.validators.workers.api.calls import misfit
from quantum_suite.services.validators.workers.api.plain_classes import (
    is_annotated,
    is_ordinary,
    is_plain,
    mentions,
    with_subclasses,
)
from quantum_suite.services.validators.workers.api.problems import Problem, nearest
from quantum_suite.services.validators.workers.api.references import Call, Reference
from quantum_suite.services.validators.workers.changed_files import STANDARD

# Parts of these exist on one system and not on another.
_PER_PLATFORM = {
    *("os", "signal", "socket", "select", "sys", "time", "ctypes", "asyncio", "subprocess", "multiprocessing"),
    *("stat", "mmap", "errno", "resource", "locale", "msvcrt", "winreg", "selectors", "socketserver", "ssl"),
    *("fcntl", "termios"),
}
_ELSEWHERE = re.compile(
    r".*[Ww]in.*|start.*|[A-Z][A-Z0-9_]+|get.*|set.*|last_.*|ps[12]|pypy.*|frozen|monitoring|tracebacklimit|"
    r"Proactor.*"
)


class Installed:
    """Looks at what is installed."""

    def __init__(self, environment: bool, local: set[str]) -> None:
        self.environment = environment
        self.local = local
        self.unchecked: set[str] = set()
        self._modules: dict[str, Any] = {}

    def problem(self, one: Reference) -> Problem | None:
        """Return what is wrong with a use, or None when what it uses exists or cannot be told."""
        top = one.module.split(".")[0]
        private = any(part.startswith("_") for part in (*one.module.split("."), *one.path))
        if top in self.local or private:
            return None
        if not self.environment and top not in STANDARD and top != "builtins":
            self.unchecked.add(top)
            return None
        thing = self._module(one.module)
        if thing is None:
            return None
        shown = one.module
        for index, name in enumerate(one.path):
            if index == one.instance:
                return self._instance_problem(thing, name, shown, one.call)
            if not isinstance(thing, (types.ModuleType, type)):
                return None
            found, value = self._attribute(thing, name, shown)
            if found is None:
                return None
            if not found:
                return Problem("missing-attribute", _absent(thing, shown, name), nearest(name, dir(thing)))
            thing, shown = value, shown + "." + name
        return misfit(thing, shown, one.call, bound=False) if one.call is not None else None

    def _module(self, name: str) -> Any:
        if name not in self._modules:
            try:
                self._modules[name] = importlib.import_module(name)
            except BaseException:
                self._modules[name] = None
        return self._modules[name]

    def _attribute(self, thing: Any, name: str, shown: str) -> tuple[bool | None, Any]:
        """Return whether an attribute is there (None: cannot be told), and what it is."""
        try:
            return True, getattr(thing, name)
        except AttributeError:
            pass
        except BaseException:
            return None, None
        if isinstance(thing, types.ModuleType):
            if shown.split(".")[0] in _PER_PLATFORM and _ELSEWHERE.fullmatch(name):
                return None, None
            try:
                if hasattr(thing, "__path__") and importlib.util.find_spec(shown + "." + name) is not None:
                    inner = self._module(shown + "." + name)
                    return (None, None) if inner is None else (True, inner)
            except BaseException:
                return None, None
            return (None, None) if _spoken_of(thing, name) else (False, None)
        plain = is_ordinary(thing) and not is_annotated(thing, name)
        return (False, None) if plain else (None, None)

    def _instance_problem(self, thing: Any, name: str, shown: str, call: Call | None) -> Problem | None:
        if not is_plain(thing):
            return None
        kinds = with_subclasses(thing)
        if not any(mentions(kind, name) for kind in kinds):
            known = [one for one in dir(thing) if not one.startswith("_")]
            message = f"{_called(thing, shown)} has no attribute '{name}'"
            return Problem("missing-attribute", message, nearest(name, known))
        static = inspect.getattr_static(thing, name, None)
        if call is None or not isinstance(static, (types.FunctionType, types.MethodDescriptorType)):
            return None
        return misfit(static, shown + "." + name, call, bound=True)


def _spoken_of(module: types.ModuleType, name: str) -> bool:
    """Whether a module's source, or the types beside it, know a name that it has not at this moment."""
    file = getattr(module, "__file__", None) or ""
    for path in (file, os.path.splitext(file)[0] + ".pyi"):
        if path.endswith((".py", ".pyi")) and os.path.isfile(path):
            with open(path, encoding="utf-8", errors="replace") as source:
                if re.search(rf"\b{re.escape(name)}\b", source.read(2_000_000)):
                    return True
    return False


def _called(thing: type, shown: str) -> str:
    return "'{}'".format(thing.__name__ if thing.__module__ == "builtins" else shown)


def _absent(thing: Any, shown: str, name: str) -> str:
    if isinstance(thing, types.ModuleType):
        version = _version(shown.split(".")[0])
        return f"module '{shown}'{version} has no '{name}'"
    return f"class '{shown}' has no attribute '{name}'"


def _version(top: str) -> str:
    if top in STANDARD:
        return " of Python {}.{}".format(*sys.version_info[:2])
    try:
        from importlib import metadata

        owners: Any = getattr(metadata, "packages_distributions", dict)()
        names = owners.get(top, [top])
        return f" ({names[0]} {metadata.version(names[0])})"
    except Exception:
        return ""
