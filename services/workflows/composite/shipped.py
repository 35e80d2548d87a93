"""The definitions that come with the suite."""

from collections.abc import Mapping
from importlib import resources

SHIPPED: Mapping[str, int] = {"change_and_prove": 1, "nightly_posture": 1, "secure_change": 1}
"""Names and versions. A change to a text that changes its steps is a new version."""


def shipped_sources() -> Mapping[str, tuple[int, str]]:
    """Return version and text of every shipped definition, by name."""
    folder = resources.files(__package__) / "definitions"
    return {
        name: (version, (folder / f"{name}.yaml").read_text(encoding="utf-8")) for name, version in SHIPPED.items()
    }
