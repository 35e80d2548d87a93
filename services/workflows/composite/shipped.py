"""The definitions that come with the suite."""

from collections.abc import Mapping
from importlib import resources

SHIPPED = ("nightly_posture", "secure_change")


def shipped_sources() -> Mapping[str, str]:
    """Return the text of every shipped definition, by name."""
    folder = resources.files(__package__) / "definitions"
    return {name: (folder / f"{name}.yaml").read_text(encoding="utf-8") for name in SHIPPED}
