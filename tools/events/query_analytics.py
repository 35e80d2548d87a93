"""Answers questions in SQL over all events."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.principals import Principal
from quantum_suite.tools.events.access import EventAccess, require_admin


class QueryAnswer(BaseModel):
    """A table."""

    model_config = ConfigDict(frozen=True)

    columns: tuple[str, ...] = Field(description="The columns' names.")
    rows: tuple[tuple[Any, ...], ...] = Field(description="The rows.")
    truncated: bool = Field(description="Whether there is more: aggregate, filter or raise max_rows.")
    as_of: str | None = Field(description="Time (UTC) of the last event the tables know of; seconds behind.")


async def query_analytics(access: EventAccess, sql: str, max_rows: int, principal: Principal) -> QueryAnswer:
    """Run one SELECT; raises Refused for others than administrators, CallerError for what is no such thing.

    Rows of one table cannot be kept from somebody who writes the query, so nobody else may write one.
    """
    require_admin(principal, "Querying all events")
    found = await access.tables().query(sql, max_rows=max_rows)
    return QueryAnswer(columns=found.columns, rows=found.rows, truncated=found.truncated, as_of=found.as_of)
