"""Packs of policies: a folder with `pack.yaml` and Rego modules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from quantum_suite.core.errors import CallerError

PACKS_FOLDER: Final = "policies"
"""Where a project keeps packs of its own, one folder each."""

_MOST_BYTES = 2 * 1024 * 1024
_MOST_PACKS = 20


class Rule(BaseModel):
    """What a pack says of one of its rules."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = Field(description="What is wrong where the rule objects.", max_length=200)
    severity: Literal["low", "medium", "high", "critical"] = Field(description="How bad it is.")
    enforcement: Literal["advisory", "mandatory", "disabled"] = Field(
        default="advisory", description="A mandatory one keeps a plan from being applied."
    )
    remediation: str = Field(default="", description="What would be right.", max_length=1_000)


class PackDescription(BaseModel):
    """`pack.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,60}$")
    package: str = Field(
        pattern=r"^[a-zA-Z_][a-zA-Z0-9_.]{0,100}$",
        description="The Rego package; its set `violation` has objects with rule, urn and message.",
    )
    description: str = ""
    rules: Mapping[str, Rule]


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack, read."""

    description: PackDescription
    modules: Mapping[str, str]
    """Rego by file name."""

    @property
    def name(self) -> str:
        """Return what verdicts call it."""
        return self.description.name


def shipped_pack() -> Pack:
    """Return the pack that comes with the suite."""
    return read_pack(files("quantum_suite.services.infrastructure_policy").joinpath("pack"))


def packs_of(folder: Path) -> Sequence[Pack]:
    """Return the shipped pack and those below a project's `policies`; raises CallerError for a broken one.

    A pack of the shipped one's name would stand in for it, and is refused.
    """
    found = [shipped_pack()]
    own = folder / PACKS_FOLDER
    for place in sorted(own.iterdir()) if own.is_dir() else ():
        if (place / "pack.yaml").is_file():
            pack = read_pack(place)
            if any(pack.name == other.name for other in found):
                raise _wrong(place.name, f"there is a pack {pack.name} already")
            found.append(pack)
    if len(found) > _MOST_PACKS:
        raise _wrong(PACKS_FOLDER, f"there are more than {_MOST_PACKS} packs")
    return found


def read_pack(place: Traversable) -> Pack:
    """Read a pack; raises CallerError saying what is wrong with it."""
    try:
        document = YAML(typ="safe", pure=True).load(_text(place.joinpath("pack.yaml")))
        description = PackDescription.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        raise _wrong(place.name, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (YAMLError, RecursionError) as error:
        raise _wrong(place.name, f"pack.yaml is no YAML: {error}") from None
    modules = {
        one.name: _text(one)
        for one in sorted(place.iterdir(), key=lambda one: one.name)
        if one.name.endswith(".rego") and not one.name.endswith("_test.rego")
    }
    if not modules:
        raise _wrong(place.name, "it has no .rego file")
    return Pack(description, modules)


def _text(place: Traversable) -> str:
    try:
        content = place.read_bytes()
        if len(content) > _MOST_BYTES:
            raise _wrong(place.name, f"it is larger than {_MOST_BYTES} bytes")
        return content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong(place.name, f"it cannot be read: {error}") from None


def _wrong(name: str, what: str) -> CallerError:
    return CallerError(
        f"The policy pack {name} cannot be used: {what}.",
        "A pack is a folder with pack.yaml (name, package, rules) and .rego files.",
        argument="folder",
    )
