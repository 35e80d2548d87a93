"""The templates that come with the suite."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.resources import files
from typing import Any

from pydantic import ValidationError

from quantum_suite.core.errors import ConfigurationError, NotFound
from quantum_suite.services.prompts import templates
from quantum_suite.services.prompts.interface import PromptTemplate, RenderedPrompt
from quantum_suite.services.prompts.rendering import names_in, render

_FILE = re.compile(r"([a-z][a-z0-9_]*)\.v([1-9][0-9]*)\.toml")


def parse_template(text: str, source: str) -> PromptTemplate:
    """Return a template as written in TOML. Raises ConfigurationError naming what is wrong and where."""
    try:
        template = PromptTemplate.model_validate(tomllib.loads(text))
        used = names_in(template)
    except (tomllib.TOMLDecodeError, ValueError) as error:
        told = error.errors(include_url=False)[0] if isinstance(error, ValidationError) else None
        problem = f"{'.'.join(map(str, told['loc']))}: {told['msg']}" if told else str(error)
        raise ConfigurationError(f"{source}: {problem}.") from error
    if used != set(template.variables):
        odd = ", ".join(sorted(used ^ set(template.variables)))
        raise ConfigurationError(f"{source}: declared and used variables differ: {odd}.")
    return template


class ShippedPrompts:
    """Reads the shipped templates on first use; all of them, so that a broken one is known at once."""

    @cached_property
    def _templates(self) -> Mapping[str, Mapping[int, PromptTemplate]]:
        found: dict[str, dict[int, PromptTemplate]] = {}
        for file in files(templates).iterdir():
            match = _FILE.fullmatch(file.name)
            if match is None:
                continue
            template = parse_template(file.read_text(encoding="utf-8"), file.name)
            if (template.name, str(template.version)) != match.groups():
                raise ConfigurationError(f"{file.name} holds {template.name}.v{template.version}.")
            found.setdefault(template.name, {})[template.version] = template
        return found

    def names(self) -> Sequence[str]:
        """Return the names, in order."""
        return sorted(self._templates)

    def versions(self, name: str) -> Sequence[int]:
        """Return the versions there are, oldest first."""
        return sorted(self._templates.get(name, {}))

    def get(self, name: str, version: int | None = None) -> PromptTemplate:
        """Return a version, the newest unless told otherwise; raises NotFound."""
        versions = self._templates.get(name, {})
        wanted = max(versions, default=0) if version is None else version
        if wanted not in versions:
            hint = f"There are {', '.join(self.names())}."
            raise NotFound(f"There is no prompt '{name}'.", hint, argument="prompt")
        return versions[wanted]

    def render(self, name: str, values: Mapping[str, Any], version: int | None = None) -> RenderedPrompt:
        """Fill a template in; raises NotFound, and CallerError naming the variable that does not fit."""
        return render(self.get(name, version), values)
