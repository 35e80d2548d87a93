"""Whether a module is installed for this interpreter."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any

from quantum_suite.services.validators.workers.changed_files import STANDARD


def installed(module: str) -> bool | None:
    """Return whether a module is there for this interpreter; None when that cannot be told.

    Parents are looked at without being run; only where that finds nothing is an import tried.
    """
    top = module.split(".")[0]
    # Also those of other platforms.
    if module in STANDARD:
        return True
    try:
        spec = importlib.util.find_spec(top)
        for end in range(2, module.count(".") + 2):
            if spec is None or spec.submodule_search_locations is None:
                spec = None
                break
            name = ".".join(module.split(".")[:end])
            where = list(spec.submodule_search_locations)
            spec = next((s for s in (_found(f, name, where) for f in sys.meta_path) if s is not None), None)
    except Exception:
        return None
    if spec is not None:
        return True
    if "." not in module:
        return False
    return _imported(module)


def _found(finder: Any, name: str, where: list[str]) -> Any:
    find = getattr(finder, "find_spec", None)
    return find(name, where) if find is not None else None


def _imported(module: str) -> bool | None:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        absent = error.name is not None and (module == error.name or module.startswith(error.name + "."))
        return False if absent else None
    except BaseException:
        return None
    return True
