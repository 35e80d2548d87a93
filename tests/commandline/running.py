"""How tests run the `quantum` command."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ran:
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str


Quantum = Callable[..., Ran]
"""Runs `quantum ARGUMENTS` with a home directory of its own."""
