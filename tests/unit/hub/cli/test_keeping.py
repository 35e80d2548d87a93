"""`quantum keys` makes, lists and ends keys, and shows a key once."""

import json
from pathlib import Path

import pytest
from commandline.running import Quantum

from quantum_suite.core.errors import CallerError
from quantum_suite.core.principals import Role
from quantum_suite.hub.access.sqlite_keys import SqliteKeyStore
from quantum_suite.hub.cli.exits import ExitCode
from quantum_suite.hub.cli.keeping import parse_duration
from quantum_suite.hub.settings import read_settings


def test_a_key_is_shown_once_and_works(quantum: Quantum, home: Path) -> None:
    ran = quantum("keys", "create", "ann", "--role", "operator", "--workspace", str(home), "--expires", "30d")
    token = ran.out.strip()
    with SqliteKeyStore(read_settings().keys_file) as store:
        record = store.find(token)
    assert record is not None
    assert (record.name, record.roles, record.workspaces) == ("ann", {Role.OPERATOR}, (str(home),))
    assert record.expires_at is not None
    assert (record.expires_at - record.created_at).days == 30
    listed = quantum("keys", "list").out
    assert "ann" in listed
    assert token not in listed


def test_machines_read_the_same(quantum: Quantum) -> None:
    made = json.loads(quantum("keys", "create", "bot", "--json").out)
    assert made["key"].startswith("qs_")
    assert (made["roles"], made["state"], made["expires_at"]) == (["viewer"], "active", None)
    (listed,) = json.loads(quantum("keys", "list", "--json").out)["keys"]
    assert listed == {name: value for name, value in made.items() if name != "key"}


def test_a_revoked_key_stays_listed(quantum: Quantum) -> None:
    quantum("keys", "create", "bot")
    assert "revoked" in quantum("keys", "revoke", "bot").err
    assert "revoked" in quantum("keys", "list").out


@pytest.mark.parametrize(
    "arguments",
    [
        ["revoke", "nobody"],
        ["create", "no spaces"],
        ["create", "a", "--role", "god"],
        ["create", "a", "--expires", "soon"],
        ["create", "a", "--workspace", "/nowhere/at/all"],
    ],
)
def test_mistakes_are_usage_errors(quantum: Quantum, arguments: list[str]) -> None:
    assert quantum("keys", *arguments).code == ExitCode.USAGE


@pytest.mark.parametrize(("text", "seconds"), [("90m", 5400), ("12h", 43200), ("30d", 2592000), ("2W", 1209600)])
def test_life_times_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["0d", "-1d", "30", "d", "1y", "1.5h"])
def test_other_life_times_are_refused(text: str) -> None:
    with pytest.raises(CallerError, match="no life time"):
        parse_duration(text)


def test_without_keys_the_list_says_how_to_make_one(quantum: Quantum) -> None:
    ran = quantum("keys", "list")
    assert (ran.code, ran.out) == (0, "")
    assert "quantum keys create NAME" in ran.err
