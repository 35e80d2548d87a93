"""Quantum Suite: one MCP endpoint for a whole DevSecOps platform."""

__version__: str
"""Looked up when it is asked for: most of the suite's processes are children that never are, and start sooner."""

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("quantum-suite")
    except PackageNotFoundError:  # running from a source tree that was never installed
        found = "0.0.0+source"
    globals()["__version__"] = found
    return found
