"""What the SQLite store adds to the contract: a file that lasts and is shared."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from quantum_suite.core.errors import ConfigurationError, NotFound, Unavailable
from quantum_suite.hub.access.sqlite_keys import SqliteKeyStore

CREATE = """
import sys
from pathlib import Path
from quantum_suite.hub.access.sqlite_keys import SqliteKeyStore

with SqliteKeyStore(Path(sys.argv[1])) as store:
    for number in range(20):
        store.create(f"{sys.argv[2]}-{number}", ["viewer"])
"""


def test_keys_survive_a_restart_and_the_file_holds_neither_token_nor_secret(tmp_path: Path) -> None:
    path = tmp_path / "data" / "keys.db"
    with SqliteKeyStore(path) as store:
        made, token = store.create("ci", ["operator"], workspaces=[tmp_path])
    with SqliteKeyStore(path) as store:
        assert store.find(token) == made
    secret = token.split("_", 2)[2].encode()
    assert all(secret not in file.read_bytes() for file in path.parent.iterdir())


def test_all_files_are_for_the_owner_alone_also_when_the_file_was_open_to_others(tmp_path: Path) -> None:
    path = tmp_path / "data" / "keys.db"
    path.parent.mkdir()
    path.touch(0o644)
    with SqliteKeyStore(path) as store:
        store.create("ci", ["viewer"])
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert modes == {"keys.db": 0o600, "keys.db-wal": 0o600, "keys.db-shm": 0o600}


def test_another_process_sees_a_revocation_at_its_next_lookup(tmp_path: Path) -> None:
    with SqliteKeyStore(tmp_path / "keys.db") as one, SqliteKeyStore(tmp_path / "keys.db") as other:
        _, token = one.create("ci", ["viewer"])
        assert other.find(token) is not None
        one.revoke("ci")
        found = other.find(token)
        assert found is not None
        assert found.revoked_at is not None


def test_processes_open_and_write_a_new_file_at_the_same_time(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CREATE, str(tmp_path / "keys.db")]
    children = [subprocess.Popen([*command, name]) for name in "abcd"]
    assert [child.wait(60) for child in children] == [0, 0, 0, 0]
    with SqliteKeyStore(tmp_path / "keys.db") as store:
        assert {key.name for key in store.list()} == {f"{name}-{n}" for name in "abcd" for n in range(20)}


def test_a_file_that_is_no_database_is_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    path.write_text("These are not the keys you are looking for." * 50)
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match=r"keys\.db does not hold keys"):
        SqliteKeyStore(path)
    assert path.read_bytes() == before


def test_a_folder_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "keys.db").mkdir()
    with pytest.raises(ConfigurationError, match=r"keys\.db cannot be opened"):
        SqliteKeyStore(tmp_path / "keys.db")


def test_the_layout_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    SqliteKeyStore(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigurationError, match="newer release"):
        SqliteKeyStore(path)


def test_a_writer_that_does_not_let_go_makes_the_store_unavailable_and_then_it_recovers(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    with SqliteKeyStore(path, busy_seconds=0.01) as store:
        _, token = store.create("first", ["viewer"])
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="locked"):
            store.create("second", ["viewer"])
        assert store.find(token) is not None
        blocker.execute("ROLLBACK")
        blocker.close()
        store.create("second", ["viewer"])
        assert [key.name for key in store.list()] == ["first", "second"]


def test_a_failed_change_leaves_no_transaction_behind(tmp_path: Path) -> None:
    with SqliteKeyStore(tmp_path / "keys.db") as store:
        with pytest.raises(NotFound):
            store.revoke("nobody")
        store.create("ci", ["viewer"])
        assert [key.name for key in store.list()] == ["ci"]
