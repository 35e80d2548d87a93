"""Quantum Suite: one MCP endpoint for a whole DevSecOps platform."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("quantum-suite")
except PackageNotFoundError:  # running from a source tree that was never installed
    __version__ = "0.0.0+source"

__all__ = ["__version__"]
