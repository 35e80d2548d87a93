"""States on the disk: the format, the journal, what a cut or an alteration looks like."""

import json
from pathlib import Path

import pytest
from reference.state_schema import state_problems

from quantum_suite.core.errors import CallerError, Damaged
from quantum_suite.services.encryption.cipher import new_data_key
from quantum_suite.services.infrastructure.interface import Deployment, PendingOperation, ResourceState, StackRef
from quantum_suite.services.infrastructure.state.files import FileStateStore, backup_of
from quantum_suite.services.infrastructure.state.format import dependents, deployment_to_json, in_order
from quantum_suite.services.infrastructure.state.journal import Change
from quantum_suite.services.infrastructure.state.secrets import StateSecrets
from quantum_suite.services.infrastructure.values import SIGNATURE_KEY, secret


def thing(name: str, *needs: str, **more: object) -> ResourceState:
    return ResourceState(
        f"urn:{name}", "t", True, f"id-{name}", dependencies=tuple(f"urn:{n}" for n in needs), **more
    )  # type: ignore[arg-type]  # fields of the state


FULL = Deployment(
    "shop",
    "dev",
    3,
    (
        thing("a", inputs={"x": [1, {"y": None}]}, outputs={"z": True}),
        thing(
            "b",
            "a",
            parent="urn:a",
            provider="urn:p::1",
            property_dependencies={"x": ("urn:a",)},
            protect=True,
            pending_replacement=True,
            additional_secret_outputs=("z",),
            aliases=("urn:old",),
            custom_timeouts={"create": 5.0},
            import_id="i",
            init_errors=("half",),
        ),
        thing("b", delete=True),
        thing("c", external=True),
    ),
    (PendingOperation("creating", thing("d")),),
)


@pytest.fixture
def ref(tmp_path: Path) -> StackRef:
    (tmp_path / "project").mkdir()
    return StackRef(tmp_path / "project", "dev")


@pytest.fixture
def store(tmp_path: Path) -> FileStateStore:
    return FileStateStore(tmp_path / "states")


def test_a_state_comes_back_as_it_was_written_and_fits_pulumis_schema(
    store: FileStateStore, ref: StackRef
) -> None:
    assert store.read(ref) == Deployment("", "dev")
    store.write(ref, FULL)
    assert store.read(ref) == FULL
    assert store.stacks(ref.folder) == ["dev"]
    assert state_problems(json.loads(store.place(ref).read_text())) == []


def test_what_the_published_schema_forgot_is_written_as_pulumi_writes_it() -> None:
    kept = thing("a", retain_on_delete=True, deleted_with="urn:box")
    (body,) = deployment_to_json(Deployment("shop", "dev", 1, (kept,)))["deployment"]["resources"]
    assert (body["retainOnDelete"], body["deletedWith"]) == (True, "urn:box")


def test_resources_come_after_what_they_need_and_dependents_are_found_through_others() -> None:
    chain = [thing("c", "b"), thing("b", "a"), thing("a"), thing("x")]
    assert [one.name for one in in_order(chain)] == ["urn:a", "urn:b", "urn:c", "urn:x"]
    assert dependents({"urn:a"}, chain) == {"urn:b", "urn:c"}
    assert len(in_order([thing("p", "q"), thing("q", "p")])) == 2


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda text: text[: len(text) // 2], "cut short perhaps"),
        (lambda text: text.replace(b"id-a", b"id-z"), "its checksum does not fit"),
        (lambda _: b"[]", "it is no deployment"),
        (lambda text: text.replace(b'"version": 3', b'"version": 9'), "version 9"),
    ],
)
def test_a_spoilt_state_is_refused_naming_the_backup(
    store: FileStateStore, ref: StackRef, spoil: object, why: str
) -> None:
    store.write(ref, FULL)
    path = store.place(ref)
    text = path.read_bytes()
    assert callable(spoil)
    path.write_bytes(spoil(text))
    with pytest.raises(Damaged, match="There is no earlier state beside it") as damaged:
        store.read(ref)
    assert why in damaged.value.message
    path.write_bytes(text)
    store.write(ref, Deployment("shop", "dev", 4))
    path.write_bytes(spoil(text))
    with pytest.raises(Damaged) as damaged:
        store.read(ref)
    assert str(backup_of(path)) in str(damaged.value.hint)
    backup_of(path).replace(path)
    assert store.read(ref) == FULL


def test_a_journal_is_taken_into_account_until_the_state_is_written(store: FileStateStore, ref: StackRef) -> None:
    store.write(ref, FULL)
    journal = store.begin_journal(ref, FULL)
    number = journal.begin(PendingOperation("creating", thing("e")))
    lost = journal.begin(PendingOperation("deleting", thing("a")))
    journal.end(number, Change([thing("e")]))
    journal.change(Change([thing("a", protect=True)], ["urn:b\nid-b"], ["urn:d"]))
    assert lost == 2
    journal.close()

    found = store.read(ref)
    assert {one.urn for one in found.resources} == {"urn:a", "urn:b", "urn:c", "urn:e"}
    assert next(one for one in found.resources if one.urn == "urn:a").protect
    assert [(one.type, one.resource.urn) for one in found.pending] == [("deleting", "urn:a")]
    assert store.has_journal(ref)
    store.write(ref, FULL)
    assert not store.has_journal(ref)


def test_the_last_line_of_a_journal_may_be_torn_and_no_other(store: FileStateStore, ref: StackRef) -> None:
    store.write(ref, FULL)
    journal = store.begin_journal(ref, FULL)
    journal.change(Change([thing("e")]))
    journal.change(Change([thing("f")]))
    journal.close()
    path = store.place(ref).with_suffix(".journal")
    whole = path.read_bytes()
    for cut in (whole[:-1], whole[:-20], whole[: whole.rindex(b"\n", 0, -1) + 3]):
        path.write_bytes(cut)
        assert "urn:e" in {one.urn for one in store.read(ref).resources}
    lines = whole.split(b"\n")
    path.write_bytes(b"\n".join([lines[0], lines[1].replace(b"urn:e", b"urn:x"), *lines[2:]]))
    with pytest.raises(Damaged, match="Line 2 of the journal"):
        store.read(ref)
    # One that is about an older state was taken into it already.
    path.write_bytes(whole)
    newer = Deployment("shop", "dev", 9)
    store.write(ref, newer)
    path.write_bytes(whole)
    assert store.read(ref) == newer


@pytest.mark.parametrize("name", ["", "../x", "a b", "x" * 101, ".hidden"])
def test_what_is_no_stacks_name_is_refused(store: FileStateStore, ref: StackRef, name: str) -> None:
    with pytest.raises(CallerError, match="is no stack's name"):
        store.read(StackRef(ref.folder, name))


def test_secrets_are_sealed_open_in_their_stack_alone_and_stay_the_same() -> None:
    old, new = new_data_key(), new_data_key()
    value = {"a": secret({"b": [1]}), "c": "plain"}
    sealed = StateSecrets([old], "one").seal(value)
    assert set(sealed["a"]) == {SIGNATURE_KEY, "ciphertext"}
    both = StateSecrets([old, new], "one")
    assert both.open(sealed) == value
    assert both.seal(value) == sealed
    with pytest.raises(Damaged):
        StateSecrets([old], "two").open(sealed)
    with pytest.raises(Damaged, match="which is gone"):
        StateSecrets([new], "one").open(sealed)
    with pytest.raises(Damaged, match="not in this suite's form"):
        both.open({SIGNATURE_KEY: sealed["a"][SIGNATURE_KEY], "ciphertext": "v1:x:y"})
    exported = {SIGNATURE_KEY: sealed["a"][SIGNATURE_KEY], "plaintext": '"shown"'}
    assert both.open(exported) == secret("shown")
