"""The URIs of runs and definitions."""

from quantum_suite.core.uris import ResourceUri


def run_uri(run_id: str, view: str | None = None) -> str:
    """Return the URI of a run, or of one view of it: steps, graph, report."""
    return str(ResourceUri("orchestrator", "runs", run_id, view))


def definition_uri(name: str, view: str | None = None) -> str:
    """Return the URI of a definition, or of one view of it: graph."""
    return str(ResourceUri("orchestrator", "definitions", name, view))


LATEST_RUNS = run_uri("latest")
"""The reader's own newest runs."""

ALL_DEFINITIONS = definition_uri("all")
"""The definitions the reader may start."""
