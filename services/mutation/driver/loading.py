"""Importing the project's files with their mutants, and throwing the switch in functions that live."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, FunctionType, ModuleType
from typing import Any

from quantum_suite.services.mutation.driver.compiled import (
    CodePath,
    MutatedFile,
    Variant,
    code_tree,
    units_in,
)
from quantum_suite.services.mutation.driver.defaults import DefaultValue
from quantum_suite.services.mutation.driver.model import Site, Unit


class Switchboard:
    """Decides which code a file of the project gets: with probes, its own, or with one mutant."""

    def __init__(self, files: dict[str, MutatedFile]) -> None:
        self.files = files
        """By real path, which is also their `filename`."""
        self.file_of = {site: file for file in files.values() for site in file.sites}
        self.reached: set[int] = set()
        """Numbers of the statements reached since it was last emptied."""
        self.probing = True
        self.active: Site | None = None
        self.loaded: dict[str, CodeType] = {}
        """Code with probes, by real path, as it was given to the import system."""
        self.given = False
        """Whether any file was imported through here."""
        self._living: dict[Unit, dict[CodePath, list[FunctionType]]] = {}

    def code_for(self, path: str) -> CodeType:
        """Return the code that importing a file gives now."""
        file = self.files[path]
        self.given = True
        if self.active is not None and self.file_of[self.active] is file:
            return file.mutated(self.active)
        if self.probing:
            self.loaded[path] = file.probed(self.reached.add)
            return self.loaded[path]
        return file.plain()

    def parts_for(self, path: str) -> list[CodeType]:
        """Return the same in parts to be executed one after the other."""
        file = self.files[path]
        if self.active is not None and self.file_of[self.active] is file:
            self.given = True
            return file.mutated_parts(self.active)
        return [self.code_for(path)]

    def prepare_anew(self) -> None:
        """Compile what children will import, before they are forked."""
        for file in self.files.values():
            file.plain()
            file.prepare_parts()

    def find_living(self) -> None:
        """Look for the functions that were made from code with probes, wherever they are kept."""
        paths: dict[int, tuple[Unit, CodePath]] = {}
        keep: list[CodeType] = []
        for path, module in self.loaded.items():
            for unit, code in units_in(module, self.files[path].walk.units).items():
                self._living[unit] = {}
                for place, inner in code_tree(code).items():
                    paths[id(inner)] = (unit, place)
                    keep.append(inner)
        for thing in gc.get_objects():
            if type(thing) is FunctionType and id(thing.__code__) in paths:
                unit, place = paths[id(thing.__code__)]
                self._living[unit].setdefault(place, []).append(thing)

    def strip_probes(self) -> set[Unit]:
        """Give every living function its own code; returns the outermost functions that can be switched."""
        self.probing = False
        good: set[Unit] = set()
        for file in self.files.values():
            for unit in file.walk.units:
                own = file.unit_code(unit)
                if own is not None and unit in self._living and self._exchange(unit, own):
                    good.add(unit)
        return good

    def is_loaded(self, site: Site) -> bool:
        """Whether the file of a mutant was imported."""
        return self.file_of[site].filename in self.loaded

    def switch_on(self, site: Site, variant: Variant) -> bool:
        """Make one mutant true from here on; False, and nothing was changed, when a living function cannot take
        it."""
        self.active = site
        if isinstance(variant, DefaultValue):
            return variant.exchange(self._owners(site))
        assert site.unit is not None
        return self._exchange(site.unit, variant)

    def switch_off(self, site: Site, variant: Variant) -> None:
        """Make those functions what they were."""
        self.active = None
        if isinstance(variant, DefaultValue):
            variant.put_back(self._owners(site))
            return
        assert site.unit is not None
        own = self.file_of[site].unit_code(site.unit)
        assert own is not None
        self._exchange(site.unit, own)

    def _owners(self, site: Site) -> list[FunctionType]:
        """Return the living functions whose default argument a mutant changes."""
        return self._living.get(site.about, {}).get((), []) if site.about is not None else []

    def _exchange(self, unit: Unit, code: CodeType) -> bool:
        tree = code_tree(code)
        living = self._living[unit]
        if any(
            place not in tree or tree[place].co_freevars != functions[0].__code__.co_freevars
            for place, functions in living.items()
        ):
            return False
        for place, functions in living.items():
            for function in functions:
                function.__code__ = tree[place]
        return True


class ProjectFinder(MetaPathFinder):
    """Gives the files of a switchboard to the import system, from the code it decides on."""

    def __init__(self, switchboard: Switchboard) -> None:
        self._switchboard = switchboard

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module as usual; another loader only for files that are mutated."""
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or not spec.has_location or not spec.origin:
            return None
        real = os.path.realpath(spec.origin)
        if real not in self._switchboard.files or type(spec.loader) is not SourceFileLoader:
            return None
        spec.loader = _Loader(fullname, spec.origin, self._switchboard, real)
        return spec


class _Loader(SourceFileLoader):
    def __init__(self, fullname: str, path: str, switchboard: Switchboard, real: str) -> None:
        super().__init__(fullname, path)
        self._switchboard = switchboard
        self._real = real

    def get_code(self, fullname: str) -> CodeType | None:
        return self._switchboard.code_for(self._real)

    def exec_module(self, module: ModuleType) -> None:
        for code in self._switchboard.parts_for(self._real):
            exec(code, module.__dict__)  # noqa: S102 - this is what importing is


def install(switchboard: Switchboard) -> Any:
    """Put the finder before all others; returns it."""
    finder = ProjectFinder(switchboard)
    sys.meta_path.insert(0, finder)
    return finder
