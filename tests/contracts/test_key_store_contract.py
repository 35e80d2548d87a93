"""What every key store guarantees, on every adapter."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from quantum_suite.core.errors import CallerError, NotFound
from quantum_suite.core.masking import MASK, mask_text
from quantum_suite.core.principals import Role
from quantum_suite.hub.access.keys import KeyStore
from quantum_suite.hub.access.memory_keys import MemoryKeyStore
from quantum_suite.hub.access.sqlite_keys import SqliteKeyStore

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KeyStore]:
    made: KeyStore
    if request.param == "memory":
        made = MemoryKeyStore(now=lambda: NOW)
    else:
        made = SqliteKeyStore(tmp_path / "keys.db", now=lambda: NOW)
    yield made
    made.close()


def test_a_created_key_is_found_by_its_token_with_all_that_was_said_of_it(store: KeyStore, tmp_path: Path) -> None:
    made, token = store.create("ci", ["viewer", Role.OPERATOR], workspaces=[tmp_path], expires_in_seconds=60)
    found = store.find(token)
    assert found == made
    assert made.name == "ci"
    assert made.roles == {Role.VIEWER, Role.OPERATOR}
    assert made.workspaces == (str(tmp_path.resolve()),)
    assert made.created_at == NOW
    assert made.expires_at == NOW + timedelta(seconds=60)
    assert made.revoked_at is None
    assert made.last_used_at is None
    assert made.principal.id == "key:ci"
    assert made.principal.workspaces == made.workspaces


def test_no_workspaces_and_an_empty_list_of_them_are_different_things(store: KeyStore) -> None:
    _, default = store.create("default", ["viewer"])
    _, nothing = store.create("nothing", ["viewer"], workspaces=[])
    found = [store.find(default), store.find(nothing)]
    assert [key.workspaces if key else "missing" for key in found] == [None, ()]


def test_a_token_has_the_documented_shape_and_is_masked_wherever_text_leaves(store: KeyStore) -> None:
    made, token = store.create("ci", ["viewer"])
    assert re.fullmatch(rf"qs_{made.id}_[A-Za-z0-9_\-]{{43}}", token)
    assert mask_text(f"Authorization: Bearer {token}.") == f"Authorization: Bearer {MASK}."


def test_tokens_that_are_not_a_key_find_nothing(store: KeyStore) -> None:
    _, token = store.create("ci", ["viewer"])
    changed = token[:-1] + ("A" if token[-1] != "A" else "B")
    for wrong in (
        "",
        "qs_",
        changed,
        token + "A",
        token + "\n",
        " " + token,
        token.upper(),
        "qs_000000000000_" + "A" * 43,
    ):
        assert store.find(wrong) is None


def test_keys_are_listed_in_the_order_they_were_made_revoked_ones_included(store: KeyStore) -> None:
    for name in ("zeta", "alpha", "mid"):
        store.create(name, ["viewer"])
    store.revoke("alpha")
    assert [(key.name, key.revoked_at is not None) for key in store.list()] == [
        ("zeta", False),
        ("alpha", True),
        ("mid", False),
    ]


def test_a_key_is_revoked_by_name_or_by_id_and_says_so_when_found(store: KeyStore) -> None:
    for by in ("name", "id"):
        made, token = store.create(f"key-{by}", ["viewer"])
        revoked = store.revoke(getattr(made, by))
        assert revoked.id == made.id
        assert revoked.revoked_at == NOW
        assert store.find(token) == revoked


def test_revoking_again_by_id_changes_nothing_and_by_name_finds_nothing(store: KeyStore) -> None:
    made, _ = store.create("ci", ["viewer"])
    revoked = store.revoke("ci")
    generation = store.generation
    assert store.revoke(made.id) == revoked
    assert store.generation == generation
    with pytest.raises(NotFound, match="no key 'ci'"):
        store.revoke("ci")


def test_a_name_is_free_again_once_its_key_is_revoked(store: KeyStore) -> None:
    first, old_token = store.create("ci", ["viewer"])
    with pytest.raises(CallerError, match="key 'ci' already") as caught:
        store.create("ci", ["admin"])
    assert caught.value.argument == "name"
    store.revoke("ci")
    second, new_token = store.create("ci", ["admin"])
    assert second.id != first.id
    assert store.revoke("ci").id == second.id
    assert [key.id if key else None for key in (store.find(old_token), store.find(new_token))] == [
        first.id,
        second.id,
    ]


def test_a_name_cannot_be_another_keys_id(store: KeyStore) -> None:
    made, _ = store.create("ci", ["viewer"])
    with pytest.raises(CallerError):
        store.create(made.id, ["viewer"])


@pytest.mark.parametrize(
    ("argument", "values"),
    [
        ("name", {"name": ""}),
        ("name", {"name": "-x"}),
        ("name", {"name": "a b"}),
        ("name", {"name": "x" * 65}),
        ("roles", {"roles": []}),
        ("roles", {"roles": ["root"]}),
        ("workspaces", {"workspaces": ["/nowhere/to/be/found"]}),
        ("expires_in_seconds", {"expires_in_seconds": 0}),
        ("expires_in_seconds", {"expires_in_seconds": -1}),
        ("expires_in_seconds", {"expires_in_seconds": float("nan")}),
        ("expires_in_seconds", {"expires_in_seconds": 1e300}),
    ],
)
def test_a_wrong_argument_is_named_and_leaves_no_key(
    store: KeyStore, argument: str, values: dict[str, object]
) -> None:
    with pytest.raises(CallerError) as caught:
        store.create(**{"name": "ci", "roles": ["viewer"], **values})  # type: ignore[arg-type]  # wrong on purpose
    assert caught.value.argument == argument
    assert caught.value.hint
    assert store.list() == []


def test_generation_grows_with_every_change_of_who_may_enter(store: KeyStore) -> None:
    seen = [store.generation]
    store.create("ci", ["viewer"])
    seen.append(store.generation)
    store.revoke("ci")
    seen.append(store.generation)
    assert seen == sorted(set(seen))


def test_touch_notes_the_last_use_and_of_an_unknown_key_nothing(store: KeyStore) -> None:
    made, token = store.create("ci", ["viewer"])
    used_at = NOW + timedelta(minutes=3)
    store.touch(made.id, used_at)
    store.touch("nobody", used_at)
    found = store.find(token)
    assert found is not None
    assert found.last_used_at == used_at
