"""Who depends on whom."""

from collections import deque
from collections.abc import Iterable, Mapping

MOST_NODES = 5_000
MOST_EDGES = 50_000


class Topology:
    """A directed graph from callers to what they depend on. May hold cycles; never changes."""

    def __init__(self, edges: Iterable[tuple[str, str]], nodes: Iterable[str] = ()) -> None:
        self._callees: dict[str, tuple[str, ...]] = {}
        self._callers: dict[str, tuple[str, ...]] = {}
        seen = dict.fromkeys((caller, callee) for caller, callee in edges if caller != callee)
        self.edges = tuple(seen)
        for caller, callee in seen:
            self._callees[caller] = (*self._callees.get(caller, ()), callee)
            self._callers[callee] = (*self._callers.get(callee, ()), caller)
        self.nodes = tuple(dict.fromkeys([*(name for edge in seen for name in edge), *nodes]))

    def dependencies(self, node: str) -> tuple[str, ...]:
        """Return what `node` calls itself."""
        return self._callees.get(node, ())

    def dependants(self, node: str) -> tuple[str, ...]:
        """Return what calls `node` itself."""
        return self._callers.get(node, ())

    def distances(self, node: str) -> Mapping[str, int]:
        """Return everything `node` depends on, at any remove, with the number of calls between; itself with 0."""
        found = {node: 0}
        waiting = deque([node])
        while waiting:
            here = waiting.popleft()
            for callee in self.dependencies(here):
                if callee not in found:
                    found[callee] = found[here] + 1
                    waiting.append(callee)
        return found

    def path(self, start: str, end: str) -> tuple[str, ...]:
        """Return a shortest chain of calls from `start` to `end`, both included; empty where there is none."""
        before: dict[str, str | None] = {start: None}
        waiting = deque([start])
        while waiting and end not in before:
            here = waiting.popleft()
            for callee in self.dependencies(here):
                if callee not in before:
                    before[callee] = here
                    waiting.append(callee)
        if end not in before:
            return ()
        chain: list[str] = []
        here_or_none: str | None = end
        while here_or_none is not None:
            chain.append(here_or_none)
            here_or_none = before[here_or_none]
        return tuple(reversed(chain))

    def measured_dependencies(self, node: str, measured: frozenset[str]) -> frozenset[str]:
        """Return the nearest dependencies that are in `measured`, looking through those that are not."""
        found: set[str] = set()
        seen = {node}
        waiting = deque(self.dependencies(node))
        while waiting:
            here = waiting.popleft()
            if here in seen:
                continue
            seen.add(here)
            if here in measured:
                found.add(here)
            else:
                waiting.extend(self.dependencies(here))
        return frozenset(found)
