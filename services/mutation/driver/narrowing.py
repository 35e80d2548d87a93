"""Collecting a few tests without the others beside them."""

from __future__ import annotations

import contextlib
import unittest
from collections.abc import Iterator, Sequence
from typing import Any

import pytest


class Narrowing:
    """A plugin that passes over the functions and classes in which none of the wanted tests is."""

    def __init__(self, wanted: Sequence[str]) -> None:
        """`wanted` are ids of tests, in the order they are to run."""
        self.wanted = wanted
        self._tests = frozenset(wanted)
        self.names: dict[str, set[str]] = {}
        for test in wanted:
            parts = test.partition("[")[0].split("::")
            for length in range(1, len(parts)):
                self.names.setdefault("::".join(parts[:length]), set()).add(parts[length])

    @pytest.hookimpl(tryfirst=True)
    def pytest_pycollect_makeitem(self, collector: Any, name: str) -> list[Any] | None:
        """Make nothing of a name that is not wanted."""
        names = self.names.get(collector.nodeid)
        return None if names is None or name in names else []

    @pytest.hookimpl(trylast=True)
    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Keep the wanted sets of parameters: every other would be an item."""
        with contextlib.suppress(AttributeError):
            # Private: where it moves, collecting only costs more.
            place = f"{metafunc.definition.parent.nodeid}::{metafunc.function.__name__}["
            kept = [call for call in metafunc._calls if f"{place}{call.id}]" in self._tests]
            if kept:
                metafunc._calls[:] = kept

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Keep the wanted tests, in their order."""
        rank = {test: number for number, test in enumerate(self.wanted)}
        items[:] = sorted((item for item in items if item.nodeid in rank), key=lambda item: rank[item.nodeid])

    @contextlib.contextmanager
    def active(self, session: Any) -> Iterator[None]:
        """Have the next collection narrowed."""
        methods: dict[str, set[str]] = {}
        for place, names in self.names.items():
            methods.setdefault(place.rpartition("::")[2], set()).update(names)
        original = unittest.TestLoader.getTestCaseNames

        def narrowed(loader: unittest.TestLoader, cls: Any) -> Sequence[str]:
            return [name for name in original(loader, cls) if name in methods.get(cls.__name__, ())]

        session.config.pluginmanager.register(self)
        # pytest asks the loader for the methods of a TestCase, and makes an item of each.
        unittest.TestLoader.getTestCaseNames = narrowed  # type: ignore[assignment] # put in its place for a while
        try:
            yield
        finally:
            unittest.TestLoader.getTestCaseNames = original  # type: ignore[method-assign] # put back
            session.config.pluginmanager.unregister(self)
