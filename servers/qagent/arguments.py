"""Arguments that several tools have."""

from typing import Annotated

from mcp_types import ToolAnnotations
from pydantic import Field

READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
# Whoever only looks may not have code run, sandboxed or not, nor spend on models.
RUNS_CODE = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)
ASKS_A_MODEL = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=True
)

ProjectPath = Annotated[
    str, Field(description="The project's top folder, absolute or below your first workspace.", max_length=4_096)
]
Goal = Annotated[
    str,
    Field(
        description="What shall be true afterwards, or what is wrong now and how to see it, in plain words.",
        min_length=3,
        max_length=20_000,
    ),
]
Patch = Annotated[
    str,
    Field(
        description="The change: a unified diff (--- a/PATH, +++ b/PATH, @@), or blocks of a path line and then "
        "<<<<<<< SEARCH, the lines as they are, =======, the lines as they shall be, >>>>>>> REPLACE. New files "
        "have /dev/null as the old path, or an empty search part. It must fit the files byte for byte.",
    ),
]
TokenBudget = Annotated[
    int, Field(description="Most tokens of context: rules, map and code together.", ge=500, le=60_000)
]
