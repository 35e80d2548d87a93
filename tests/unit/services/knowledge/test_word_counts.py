"""Counts of words are remembered as long as the index stays the same."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from quantum_suite.services.knowledge.index.database import set_fact
from quantum_suite.services.knowledge.index.reading import WordCounts


@pytest.fixture
def index() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(
            "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT);"
            "CREATE VIRTUAL TABLE code_words USING fts5(text);"
            "INSERT INTO code_words VALUES ('parse header'), ('parse body'), ('send');"
        )
        set_fact(database, "root", "/work")
        set_fact(database, "generation", "1")
        yield database


def test_a_word_is_counted_once_until_the_index_changes(index: sqlite3.Connection) -> None:
    asked: list[str] = []
    index.set_trace_callback(lambda text: asked.append(text) if "count(*)" in text else None)
    counts = WordCounts()

    assert counts.of(index, "code_words", ["parse", "gone"]) == {"parse": 2, "gone": 0}
    assert counts.of(index, "code_words", ["parse", "send"]) == {"parse": 2, "send": 1}
    assert len(asked) == 3

    index.execute("INSERT INTO code_words VALUES ('parse again')")
    set_fact(index, "generation", "2")
    assert counts.of(index, "code_words", ["parse"]) == {"parse": 3}
