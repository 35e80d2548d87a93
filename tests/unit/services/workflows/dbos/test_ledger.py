"""What the drivers raise, as errors of the tree."""

import sqlite3

import psycopg
import pytest

from quantum_suite.core.errors import Damaged, Unavailable
from quantum_suite.services.workflows.dbos.ledger import database_errors


def ping() -> None:
    """Fail as SQLAlchemy's does, which puts the connection's mode back whatever happened."""
    try:
        raise psycopg.OperationalError("connection socket closed")
    finally:
        raise psycopg.ProgrammingError("can't change 'autocommit' now")


def test_a_connection_lost_while_it_is_tried_counts_as_a_database_that_is_away() -> None:
    with pytest.raises(Unavailable), database_errors("here"):
        ping()


@pytest.mark.parametrize(
    "error", [psycopg.OperationalError("away"), psycopg.errors.IdleInTransactionSessionTimeout("silent")]
)
def test_a_server_that_is_away_or_hung_up_is_unavailable(error: Exception) -> None:
    with pytest.raises(Unavailable, match="here cannot be used now"), database_errors("here"):
        raise error


def test_a_mistake_of_ours_stays_what_it_is() -> None:
    with pytest.raises(psycopg.ProgrammingError), database_errors("here"):
        raise psycopg.ProgrammingError("syntax error")


def test_a_file_that_is_no_database_is_damaged() -> None:
    error = sqlite3.DatabaseError("file is not a database")
    error.sqlite_errorcode = sqlite3.SQLITE_NOTADB
    with pytest.raises(Damaged), database_errors("here"):
        raise error
