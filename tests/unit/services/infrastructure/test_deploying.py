"""What the engine decides about resources, and in which order it acts: on providers in memory."""

from typing import Any

import pytest
from reference.memory_providers import MemoryHost, Run, deploy, destroyed, refreshed

from quantum_suite.services.infrastructure.embedded.hosts import ProviderFailed
from quantum_suite.services.infrastructure.embedded.registration import AliasSpec, Registration
from quantum_suite.services.infrastructure.interface import Deployment, ImportRequest, ResourceState
from quantum_suite.services.infrastructure.values import secret

pytestmark = pytest.mark.anyio
PREFIX = "urn:pulumi:dev::shop::mem:index:Thing::"


def things(state: Deployment) -> dict[str, ResourceState]:
    return {one.name: one for one in state.resources if one.type == "mem:index:Thing"}


def program(*things_: dict[str, Any]) -> Any:
    async def run(it: Run) -> None:
        for thing in things_:
            await it.thing(**thing)

    return run


async def test_the_same_urn_twice_is_refused_and_checks_name_the_property() -> None:
    with pytest.raises(ProviderFailed, match="Duplicate resource URN"):
        await deploy(program({"name": "a"}, {"name": "a"}))
    with pytest.raises(ProviderFailed, match="bad: it must not be"):
        await deploy(program({"name": "a", "bad": True}))


async def test_a_child_of_a_component_has_its_type_in_its_urn_and_goes_before_it() -> None:
    async def grouped(it: Run) -> None:
        group = await it.deploying.register(Registration("my:index:Group", "g"))
        child = await it.thing("a", parent=group.urn)
        assert child.urn == "urn:pulumi:dev::shop::my:index:Group$mem:index:Thing::a"
        await it.deploying.take_outputs(group.urn, {"x": 1})

    host = MemoryHost()
    _, state = await deploy(grouped, None, host)
    assert next(one for one in state.resources if one.name == "g").outputs == {"x": 1}
    run, state = await deploy(program(), state, host)
    assert run.done() == {"a": "delete"}
    assert [one.name for one in state.resources] == ["shop-dev"]


async def test_an_alias_keeps_the_resource_under_its_new_name_and_its_dependents_follow() -> None:
    host = MemoryHost()
    _, state = await deploy(program({"name": "a", "v": 1}, {"name": "b", "needs": (PREFIX + "a",)}), None, host)
    renamed = program(
        {"name": "a2", "v": 1, "aliases": (AliasSpec(name="a"),)}, {"name": "b", "needs": (PREFIX + "a2",)}
    )
    run, state = await deploy(renamed, state, host)
    assert run.done() == {}
    assert things(state)["a2"].id == "id-1"
    assert things(state)["b"].dependencies == (PREFIX + "a2",)


async def test_a_parent_that_was_renamed_takes_its_children_along() -> None:
    def grouped(name: str, *aliases: AliasSpec) -> Any:
        async def run(it: Run) -> None:
            group = await it.deploying.register(Registration("my:index:Group", name, aliases=aliases))
            await it.thing(f"{name}-child", parent=group.urn)

        return run

    host = MemoryHost()
    _, state = await deploy(grouped("old"), None, host)
    run, state = await deploy(grouped("new", AliasSpec(name="old")), state, host)
    assert run.done() == {}
    assert list(things(state)) == ["new-child"]


async def test_ignored_and_replacing_properties_are_heeded() -> None:
    host = MemoryHost()
    _, state = await deploy(program({"name": "a", "v": 1, "tags": {"x": 1, "y": 1}}), None, host)
    run, state = await deploy(
        program({"name": "a", "v": 1, "tags": {"x": 2, "y": 1}, "ignore_changes": ("tags.x",)}), state, host
    )
    assert run.done() == {}
    run, state = await deploy(
        program({"name": "a", "v": 2, "tags": {"x": 1, "y": 1}, "replace_on_changes": ("v",)}), state, host
    )
    assert run.done() == {"a": "replace"}
    assert host.calls == ["create a", "create a", "delete a"]
    assert run.recorder.steps[f"{PREFIX}a"].replacement_reasons[0].key == "v"


async def test_what_cannot_outlive_a_replaced_thing_falls_with_it_and_comes_back() -> None:
    def pair(key: int) -> Any:
        async def run(it: Run) -> None:
            a = await it.thing("a", key=key)
            # Its `key` comes from a, so that it is replaced whenever a's id may change.
            await it.thing("b", key=a.id, needs=(a.urn,), property_dependencies={"key": (a.urn,)})
            await it.thing("c", v=1, needs=(a.urn,))

        return run

    host = MemoryHost(first=True)
    _, state = await deploy(pair(1), None, host)
    host.calls.clear()
    _, state = await deploy(pair(2), state, host)
    assert host.calls == ["delete b", "delete a", "create a", "create b"]
    assert not any(one.pending_replacement for one in state.resources)
    assert len(host.world) == 3


async def test_deletions_go_against_the_dependencies_and_stop_where_one_fails() -> None:
    host = MemoryHost()
    a, b = PREFIX + "a", PREFIX + "b"
    _, state = await deploy(
        program({"name": "a"}, {"name": "b", "needs": (a,)}, {"name": "c", "needs": (b,)}, {"name": "d"}),
        None,
        host,
    )
    host.calls.clear()
    host.fail = {"delete b"}
    run, state = await destroyed(state, host)
    assert host.calls.index("delete c") < host.calls.index("delete b")
    assert "delete a" not in host.calls
    assert [urn for urn, _ in run.recorder.failures] == [b]
    assert sorted(things(state)) == ["a", "b"]
    host.fail = set()
    _, state = await destroyed(state, host)
    assert host.world == {}
    assert state.resources == ()


async def test_targets_confine_changes_and_what_they_need_must_exist() -> None:
    host = MemoryHost()
    a = PREFIX + "a"
    _, state = await deploy(program({"name": "a", "v": 1}, {"name": "b", "v": 1}), None, host)
    run, state = await deploy(
        program({"name": "a", "v": 2}, {"name": "b", "v": 2}, {"name": "c"}), state, host, targets=frozenset({a})
    )
    assert run.done() == {"a": "update"}
    assert sorted(things(state)) == ["a", "b"]
    with pytest.raises(ProviderFailed, match="which does not exist yet"):
        await deploy(
            program({"name": "z"}, {"name": "a", "v": 3, "needs": (PREFIX + "z",)}),
            state,
            host,
            targets=frozenset({a}),
        )
    run, state = await destroyed(state, host, frozenset({a}))
    assert sorted(things(state)) == ["b"]


async def test_retained_and_swept_things_are_dropped_without_a_call() -> None:
    host = MemoryHost()
    _, state = await deploy(
        program(
            {"name": "kept", "retain_on_delete": True},
            {"name": "box"},
            {"name": "inside", "deleted_with": PREFIX + "box"},
        ),
        None,
        host,
    )
    host.calls.clear()
    _, state = await destroyed(state, host)
    assert host.calls == ["delete box"]
    assert state.resources == ()


async def test_protection_refuses_replacement_as_well() -> None:
    host = MemoryHost()
    _, state = await deploy(program({"name": "a", "key": 1, "protect": True}), None, host)
    with pytest.raises(ProviderFailed, match="a is protected and would be replaced"):
        await deploy(program({"name": "a", "key": 2, "protect": True}), state, host)
    assert len(host.world) == 1


async def test_a_creation_whose_answer_is_lost_is_open_until_somebody_says_what_became_of_it() -> None:
    host = MemoryHost(lose={"create a"})
    base = Deployment("shop", "dev")
    lost: list[Run] = []

    async def losing(it: Run) -> None:
        lost.append(it)
        await it.thing("a", v=1)

    with pytest.raises(ProviderFailed, match="lost while it was created"):
        await deploy(losing, base, host)
    state = lost[0].live.deployment("shop", "dev", 1)
    assert [one.type for one in state.pending] == ["creating"]

    host.lose = set()
    with pytest.raises(ProviderFailed, match="has to be settled first"):
        await deploy(program({"name": "a", "v": 1}), state, host)
    _, found = await deploy(program({"name": "a", "v": 1}), state, host, pending_answers={PREFIX + "a": "id-1"})
    assert things(found)["a"].id == "id-1"
    assert found.pending == ()
    _, again = await deploy(program({"name": "a", "v": 1}), state, host, pending_answers={PREFIX + "a": "absent"})
    assert things(again)["a"].id == "id-2"
    run, rest = await destroyed(state, host)
    assert [problem.code for problem in run.recorder.problems] == ["pending_create"]
    assert len(rest.pending) == 1


async def test_with_an_identity_it_is_found_and_brought_up_or_deleted_when_nobody_wants_it() -> None:
    host = MemoryHost(lose={"create a"}, identity=True)
    lost: list[Run] = []

    async def losing(it: Run) -> None:
        lost.append(it)
        await it.thing("a", v=1)

    with pytest.raises(ProviderFailed):
        await deploy(losing, None, host)
    state = lost[0].live.deployment("shop", "dev", 1)
    host.lose = set()
    _, found = await deploy(program({"name": "a", "v": 2}), state, host)
    assert (things(found)["a"].id, host.world["a"]["v"], found.pending) == ("a", 2, ())
    assert host.calls.count("create a") == 1
    _, gone = await deploy(program(), state, host)
    assert (host.world, gone.pending) == ({}, ())


async def test_half_a_creation_that_failed_is_kept_to_be_mended() -> None:
    class Halfway(MemoryHost):
        async def create(self, urn: str, inputs: Any, **more: Any) -> Any:
            await super().create(urn, inputs, **more)
            raise ProviderFailed("tagging it failed")

    host = Halfway(identity=True)
    tried: list[Run] = []

    async def half(it: Run) -> None:
        tried.append(it)
        await it.thing("a", v=1)

    with pytest.raises(ProviderFailed, match="tagging it failed"):
        await deploy(half, None, host)
    state = tried[0].live.deployment("shop", "dev", 1)
    assert things(state)["a"].init_errors == ("tagging it failed",)
    whole = MemoryHost(host.world, identity=True)
    run, state = await deploy(program({"name": "a", "v": 1}), state, whole)
    assert run.done() == {"a": "update"}
    assert things(state)["a"].init_errors == ()


@pytest.mark.parametrize("call", ["update a", "delete a"])
async def test_an_update_or_deletion_whose_answer_is_lost_is_looked_up_and_done_again(call: str) -> None:
    host = MemoryHost()
    _, state = await deploy(program({"name": "a", "v": 1}), None, host)
    host.lose = {call}
    after = program({"name": "a", "v": 2}) if call == "update a" else program()
    runs: list[Run] = []

    async def watched(it: Run) -> None:
        runs.append(it)
        await after(it)

    if call == "update a":
        with pytest.raises(ProviderFailed, match="lost while it was updated"):
            await deploy(watched, state, host)
    else:
        await deploy(watched, state, host)
    state = runs[0].live.deployment("shop", "dev", 1)
    assert len(state.pending) == 1
    host.lose = set()
    host.calls.clear()
    _, state = await deploy(after, state, host)
    assert state.pending == ()
    assert host.calls == (["read a", "update a"] if call == "update a" else ["read a"])
    assert host.world == ({"id-1": {"v": 2}} if call == "update a" else {})


async def test_refresh_tells_what_changed_and_what_is_gone() -> None:
    host = MemoryHost()
    _, state = await deploy(program({"name": "a", "v": 1}, {"name": "b", "v": secret("old")}), None, host)
    host.world["id-1"]["v"] = 9
    host.world["id-2"]["v"] = "new"
    run, state = await refreshed(state, host)
    changes = {drift.name: [(c.path, c.old, c.new) for c in drift.changes] for drift in run.recorder.drift}
    assert changes == {"a": [("v", 1, 9)], "b": [("v", "[secret]", "[secret]")]}
    del host.world["id-1"]
    run, state = await refreshed(state, host)
    assert [drift.kind for drift in run.recorder.drift] == ["missing"]
    assert list(things(state)) == ["b"]


async def test_imports_take_what_fits_and_refuse_what_does_not() -> None:
    host = MemoryHost({"there": {"v": 1}})
    wanted = ImportRequest(PREFIX + "a", "there")
    with pytest.raises(ProviderFailed, match=r"not what the program declares \(v"):
        await deploy(program({"name": "a", "v": 2}), None, host, import_=wanted)
    with pytest.raises(ProviderFailed, match="nothing to import"):
        await deploy(program({"name": "a", "v": 1}), None, host, import_=ImportRequest(PREFIX + "a", "gone"))
    run, state = await deploy(program({"name": "a", "v": 1}), None, host, import_=wanted)
    assert run.done() == {"a": "import"}
    assert things(state)["a"].import_id == "there"
    run, _ = await deploy(program({"name": "a", "v": 1, "import_id": "there"}), state, host)
    assert run.done() == {}


async def test_a_read_resource_is_looked_up_and_never_deleted() -> None:
    host = MemoryHost({"there": {"v": 1}})

    async def reading(it: Run) -> None:
        found = await it.deploying.read(Registration("mem:index:Thing", "r", custom=True), "there")
        assert found.outputs["arn"] == "arn:there"
        with pytest.raises(ProviderFailed, match="There is no"):
            await it.deploying.read(Registration("mem:index:Thing", "s", custom=True), "gone")

    _, state = await deploy(reading, None, host)
    assert things(state)["r"].external
    await deploy(program(), state, host)
    assert "delete r" not in host.calls


async def test_a_preview_touches_nothing_and_says_what_is_unknown() -> None:
    host = MemoryHost()

    async def pair(it: Run) -> None:
        a = await it.thing("a", v=1)
        assert (a.id, a.outputs) == ("", {"v": 1})
        await it.thing("b", v=secret("s3cret"))

    run, _ = await deploy(pair, None, host, dry_run=True)
    assert host.calls == []
    assert run.recorder.steps[f"{PREFIX}b"].inputs == {"v": "[secret]"}
    assert run.recorder.masks.masked("it is s3cret") == "it is [secret]"


async def test_another_provider_means_another_thing() -> None:
    host = MemoryHost()
    _, state = await deploy(program({"name": "a"}), None, host)
    other = "urn:pulumi:dev::shop::pulumi:providers:mem::east::2"
    run, _ = await deploy(program({"name": "a", "provider": other}), state, host)
    assert run.done() == {"a": "replace"}
    assert run.recorder.steps[f"{PREFIX}a"].replacement_reasons[0].why == "it moves to another provider (east)"


async def test_a_replacement_killed_halfway_leaves_neither_of_the_two_behind() -> None:
    class Named(MemoryHost):
        """Its things are found under their key, and another key is another thing."""

        async def check(self, urn: str, olds: Any, news: Any) -> dict[str, Any]:
            return {**news, "__identity": news["key"]}

        async def create(self, urn: str, inputs: Any, **more: Any) -> Any:
            made, outputs = await super().create(urn, inputs, **more)
            self.world[inputs["key"]] = self.world.pop(made)
            if self.lose:
                raise ProviderFailed("UNAVAILABLE", lost=True)
            return inputs["key"], outputs

    host = Named()
    _, first = await deploy(program({"name": "a", "key": "one"}), None, host)
    for after in ("two", "three"):
        host.world = {"one": {"key": "one"}}
        host.lose = {"create"}
        runs: list[Run] = []

        async def losing(it: Run, runs: list[Run] = runs) -> None:
            runs.append(it)
            await it.thing("a", key="two")

        with pytest.raises(ProviderFailed, match="lost while it was created"):
            await deploy(losing, first, host)
        host.lose = set()
        assert sorted(host.world) == ["one", "two"]
        _, state = await deploy(
            program({"name": "a", "key": after}), runs[0].live.deployment("shop", "dev", 1), host
        )
        assert list(host.world) == [after]
        assert (things(state)["a"].id, state.pending) == (after, ())
