"""Which tests a process takes, and in which order: the same in every process of a run."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any


class Selection:
    """A process's part of the tests."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._asked = [name.rstrip("/") for name in config["select"]]
        self._whole = {name for name in self._asked if "::" not in name}
        self._names = set(self._asked) - self._whole
        self._found: set[str] = set()
        self._skip = set(config["skip"])
        self._done = set(config["done"])
        self._seed = config["order_seed"]
        self._shard, self._shards = config["shard"], config["shards"]

    def choose(self, tests: Iterable[tuple[str, str]]) -> list[str]:
        """Return the ids to run, in order, of (id, file) as they were found.

        Files are dealt out whole, the largest first, so that what a file sets up is set up once.
        """
        files: dict[str, list[str]] = {}
        for test, file in tests:
            if test not in self._skip and self._is_asked(test, file):
                files.setdefault(file, []).append(test)
        loads = [0] * self._shards
        mine: list[str] = []
        for file in sorted(files, key=lambda name: (-len(files[name]), name)):
            shard = loads.index(min(loads))
            loads[shard] += len(files[file])
            if shard == self._shard:
                mine.append(file)
        order = [file for file in files if file in set(mine)]
        if self._seed is not None:
            shuffle = random.Random(self._seed)  # noqa: S311 - an order, not a secret
            order.sort()
            shuffle.shuffle(order)
            for file in order:
                files[file].sort()
                shuffle.shuffle(files[file])
        # Left out last: a process that goes on where another ended has the same files as that one.
        return [test for file in order for test in files[file] if test not in self._done]

    def files(self) -> list[str]:
        """Return the files and folders that hold what is asked for; none means all."""
        return list(dict.fromkeys(name.split("::")[0] for name in self._asked))

    def missing(self) -> list[str]:
        """Return the tests that were asked for and not found."""
        return [name for name in self._asked if name in self._names and name not in self._found]

    def _is_asked(self, test: str, file: str) -> bool:
        if not self._asked:
            return True
        # A test is asked for by its id, and by those of its function, class, file and folders.
        parts = test.split("[", 1)[0].split("::")
        ids = {test, *("::".join(parts[:end]) for end in range(2, len(parts) + 1))}
        hits = ids & self._names
        self._found |= hits
        folders = file.split("/")
        above = {".", *("/".join(folders[:end]) for end in range(1, len(folders) + 1))}
        return bool(hits) or not above.isdisjoint(self._whole)
