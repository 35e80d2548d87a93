"""Variables in `mcp.json`, in the spellings clients use: `${env:NAME}`, `${NAME}`, each with `:-default`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_VARIABLE = re.compile(r"\$\{(?P<name>[^{}:]+)(?P<rest>:[^{}]*)?\}")
_PLAIN = re.compile(r"[A-Z_][A-Z0-9_]*")


class Unexpandable(ValueError):
    """A variable has no value here; the message says where it stands and what to do, never a value."""


@dataclass(frozen=True, slots=True)
class Variables:
    """Where values come from."""

    environ: Mapping[str, str] = field(repr=False)
    workspace: Path

    def expand(self, text: str, where: str) -> str:
        """Return `text` with its variables replaced; raises Unexpandable naming `where`.

        Values are taken as they are: a `${...}` inside a value is not expanded again.
        """
        return _VARIABLE.sub(lambda match: self._value(match, where), text)

    def _value(self, match: re.Match[str], where: str) -> str:
        name, rest = match["name"], (match["rest"] or "")[1:]
        if name == "workspaceFolder":
            return str(self.workspace)
        if name == "userHome":
            return str(Path.home())
        if name == "input":
            raise Unexpandable(
                f"{where}: {match[0]} asks the person at an editor, and there is none here. "
                "Put the value into the environment and write ${env:NAME}."
            )
        if name == "env":
            variable, _, default = rest.partition(":-")
            has_default = ":-" in rest
        elif _PLAIN.fullmatch(name) and (not match["rest"] or rest.startswith("-")):
            variable, default, has_default = name, rest[1:], bool(match["rest"])
        else:
            raise Unexpandable(f"{where}: {match[0]} is not known here. Write ${{env:NAME}}.")
        if value := self.environ.get(variable):
            return value
        if has_default:
            return default
        if variable in self.environ:
            return ""
        raise Unexpandable(
            f"{where}: the environment variable {variable} is not set. Set it before the hub starts, or give "
            f"a default: ${{env:{variable}:-...}}."
        )
