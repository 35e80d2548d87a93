"""Arguments that several tools have."""

from typing import Annotated, Literal

from pydantic import Field

WorkspacePath = Annotated[
    str,
    Field(description="The indexed directory, absolute or below your first workspace, as index_workspace got it."),
]
Query = Annotated[
    str,
    Field(
        description="What to look for: a question in plain words, an error message, or names.", max_length=2_000
    ),
]
PathPrefix = Annotated[
    str,
    Field(description="Only files whose path, relative to the workspace, begins like this, e.g. src/billing/."),
]
SearchModeArgument = Annotated[
    Literal["hybrid", "words", "meaning"],
    Field(description="hybrid is best nearly always; words for exact text, meaning for synonyms alone."),
]
Limit = Annotated[int, Field(description="Most results returned.", ge=1, le=50)]
