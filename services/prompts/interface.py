"""What a prompt template is, and the port to where they are kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    description: str = Field(min_length=1, description="What goes in, for who fills it in.")
    required: bool = Field(default=True, description="Whether it must be given; left out, it is empty.")


class TextVariable(_Declared):
    """Text of several lines."""

    type: Literal["text"]
    max_characters: int = Field(ge=1, description="Longest value; a longer one is refused, never cut.")
    quoted: bool = Field(
        default=False,
        description="Whether the value stands in a fence that nothing in it can close: for what others wrote.",
    )


class LineVariable(_Declared):
    """Text of one line."""

    type: Literal["line"]
    max_characters: int = Field(default=500, ge=1, description="Longest value.")


class IntegerVariable(_Declared):
    """A whole number."""

    type: Literal["integer"]
    minimum: int = Field(description="Least value.")
    maximum: int = Field(description="Greatest value.")


class ChoiceVariable(_Declared):
    """One of some words."""

    type: Literal["choice"]
    choices: tuple[str, ...] = Field(min_length=1, strict=False, description="The words.")


class ListVariable(_Declared):
    """Lines, each a point of a list."""

    type: Literal["list"]
    max_items: int = Field(ge=1, description="Most points.")
    max_characters: int = Field(default=2000, ge=1, description="Longest point.")


Variable = Annotated[
    TextVariable | LineVariable | IntegerVariable | ChoiceVariable | ListVariable, Field(discriminator="type")
]


class PromptTemplate(BaseModel):
    """One version of a template."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{1,60}$", description="Its name.")
    version: int = Field(ge=1, description="Counts up; what was released under it never changes.")
    title: str = Field(min_length=1, description="For a person, in a list.")
    description: str = Field(min_length=1, description="What it is for.")
    variables: dict[str, Variable] = Field(default_factory=dict, description="What is filled in, by name.")
    text: str = Field(min_length=1, description="The text; ${name} is filled in, $$ is a dollar sign.")


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    """A template filled in."""

    name: str
    version: int
    text: str

    @property
    def source(self) -> str:
        """Where it comes from, for ledgers and audits: `generate_change.v1`."""
        return f"{self.name}.v{self.version}"


class PromptLibrary(Protocol):
    """Holds templates by name and version."""

    def names(self) -> Sequence[str]:
        """Return the names, in order."""
        ...

    def get(self, name: str, version: int | None = None) -> PromptTemplate:
        """Return a version, the newest unless told otherwise; raises NotFound."""
        ...

    def render(self, name: str, values: Mapping[str, Any], version: int | None = None) -> RenderedPrompt:
        """Fill a template in. Raises NotFound, and CallerError naming the variable that does not fit."""
        ...
