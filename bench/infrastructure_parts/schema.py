"""Checks states with Pulumi's published JSON schema (sdk/go/common/apitype/*.json of pulumi/pulumi)."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILES = ("deployments.json", "resources.json", "property-values.json")


@dataclass(frozen=True, slots=True)
class StateSchema:
    """The schema; without its files every state passes, and the bench says that it was not checked."""

    validator: Any = None

    @classmethod
    def read(cls, folder: Path | None) -> "StateSchema":
        """Read the schema from a folder that its three files were fetched into."""
        if folder is None:
            print("States are not checked with Pulumi's schema: --schema names no folder.")
            return cls()
        from jsonschema import Draft202012Validator
        from referencing import Registry, Resource

        documents = [json.loads((folder / name).read_text(encoding="utf-8")) for name in FILES]
        registry: Any = Registry().with_resources(
            [(document["$id"], Resource.from_contents(document)) for document in documents]
        )
        return cls(Draft202012Validator(documents[0], registry=registry))

    def problems(self, state: Path) -> list[str]:
        """Return what is wrong with a state file."""
        if self.validator is None or not state.exists():
            return []
        found = self.validator.iter_errors(json.loads(state.read_text(encoding="utf-8")))
        return [f"state: {error.message[:200]}" for error in list(found)[:3]]
