"""Names are stable, collisions are refused and named, and nothing is redirected."""

from typing import Any

from quantum_suite.hub.catalogue import Claim, build_catalogue, changed_lists
from quantum_suite.hub.offer import Offer


def tool(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "inputSchema": {"type": "object"}, **more}


def claim(upstream: str, *names: str, prefix: str | None = None, present: bool = True) -> Claim:
    return Claim(upstream, upstream if prefix is None else prefix, Offer(tools=tuple(map(tool, names))), present)


def test_a_tool_is_named_after_its_server_then_itself() -> None:
    catalogue = build_catalogue([claim("git", "log")])
    assert list(catalogue.tools) == ["git_log"]
    assert catalogue.tools["git_log"].shown["name"] == "git_log"
    assert catalogue.tools["git_log"].target.upstream_name == "log"


def test_an_empty_prefix_leaves_names_as_they_are() -> None:
    assert list(build_catalogue([claim("git", "log", prefix="")]).tools) == ["log"]


def test_names_do_not_depend_on_who_else_is_there() -> None:
    alone = build_catalogue([claim("b", "x", "y")])
    together = build_catalogue([claim("a", "x"), claim("b", "x", "y"), claim("c", "y")])
    assert set(alone.tools) <= set(together.tools)


def test_lists_are_in_name_order_whatever_the_order_of_servers() -> None:
    one = build_catalogue([claim("b", "z", "a"), claim("a", "k")])
    other = build_catalogue([claim("a", "k"), claim("b", "a", "z")])
    assert list(one.tools) == list(other.tools) == ["a_k", "b_a", "b_z"]


def test_the_second_claim_to_a_name_is_refused_and_reported() -> None:
    catalogue = build_catalogue([claim("a", "b_c"), claim("a_b", "c", "d")])
    assert catalogue.tools["a_b_c"].target.upstream == "a"
    assert catalogue.refused == {"a_b": ("a_b_c",)}
    assert catalogue.tools["a_b_d"].target.upstream == "a_b"


def test_a_name_stays_with_its_owner_when_an_earlier_server_arrives_late() -> None:
    before = build_catalogue([claim("first", prefix="x"), claim("second", "t", prefix="x")])
    after = build_catalogue([claim("first", "t", prefix="x"), claim("second", "t", prefix="x")], before)
    assert after.tools["x_t"].target.upstream == "second"
    assert after.refused == {"first": ("x_t",)}


def test_a_name_is_withdrawn_but_not_handed_on_while_its_owner_is_away() -> None:
    both = [claim("first", "t", prefix="x"), claim("second", "t", prefix="x")]
    before = build_catalogue(both)
    after = build_catalogue([claim("first", "t", prefix="x", present=False), both[1]], before)
    assert after.tools["x_t"].target.upstream == "first"
    assert not after.tools["x_t"].present


def test_a_name_is_free_again_once_its_owner_is_no_longer_configured() -> None:
    before = build_catalogue([claim("first", "t", prefix="x"), claim("second", "t", prefix="x")])
    after = build_catalogue([claim("second", "t", prefix="x")], before)
    assert after.tools["x_t"].target.upstream == "second"
    assert after.refused == {}


def test_annotations_left_out_mean_the_protocols_defaults() -> None:
    catalogue = build_catalogue([Claim("s", "s", Offer(tools=(tool("plain"),)))])
    target = catalogue.tools["s_plain"].target
    assert (target.read_only, target.destructive, target.idempotent) == (False, True, False)


def test_a_read_only_tool_is_neither_destructive_nor_unsafe_to_repeat() -> None:
    offer = Offer(tools=(tool("look", annotations={"readOnlyHint": True, "destructiveHint": True}),))
    target = build_catalogue([Claim("s", "s", offer)]).tools["s_look"].target
    assert (target.read_only, target.destructive, target.idempotent) == (True, False, True)


def test_a_resource_keeps_its_uri_and_a_template_catches_the_rest() -> None:
    offer = Offer(
        resources=({"uri": "notes://today", "name": "today"},),
        templates=({"uriTemplate": "notes://{day}", "name": "a day"},),
    )
    catalogue = build_catalogue([Claim("notes", "notes", offer)])
    listed, matched = catalogue.resource("notes://today"), catalogue.resource("notes://monday")
    assert listed is not None
    assert matched is not None
    assert matched.upstream == "notes"
    assert matched.name == "notes://monday"
    assert catalogue.resource("other://monday") is None


def test_a_template_that_cannot_be_parsed_is_listed_but_matches_nothing() -> None:
    offer = Offer(templates=({"uriTemplate": "notes://{", "name": "broken"},))
    catalogue = build_catalogue([Claim("notes", "notes", offer)])
    assert list(catalogue.templates) == ["notes://{"]
    assert catalogue.resource("notes://x") is None


def test_parameters_mirrored_in_headers_are_noticed() -> None:
    schema = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}
    offer = Offer(tools=(tool("plain"), {"name": "sql", "inputSchema": schema}))
    catalogue = build_catalogue([Claim("db", "db", offer)])
    assert catalogue.tools["db_sql"].target.mirrors_params
    assert not catalogue.tools["db_plain"].target.mirrors_params


def test_only_lists_that_look_different_count_as_changed() -> None:
    offer = Offer(tools=(tool("t"),), templates=({"uriTemplate": "a://{b}", "name": "b"},))
    before = build_catalogue([Claim("s", "s", offer)])
    assert changed_lists(before, build_catalogue([Claim("s", "s", offer)], before)) == []
    assert changed_lists(before, build_catalogue([Claim("s", "s", offer, False)], before)) == [
        "tools",
        "resources",
    ]
    renamed = Offer(tools=(tool("t", title="T"),), templates=offer.templates)
    assert changed_lists(before, build_catalogue([Claim("s", "s", renamed)], before)) == ["tools"]


def template(uri: str) -> dict[str, Any]:
    return {"uriTemplate": uri, "name": uri}


def test_no_server_takes_reads_away_from_an_earlier_one_by_a_narrower_template() -> None:
    earlier = Claim("first", "first", Offer(templates=(template("notes://{day}"),)))
    later = Claim("second", "second", Offer(templates=(template("notes://mon{rest}"), template("notes://{+any}"))))
    found = build_catalogue([earlier, later]).resource("notes://monday")
    assert found is not None
    assert found.upstream == "first"


def test_what_a_server_in_this_process_describes_nobody_else_can_list() -> None:
    foreign = Claim("evil", "evil", Offer(resources=({"uri": "scans://7", "name": "7"},)))
    own = Claim("scans", "scans", Offer(templates=(template("scans://{id}"),)), own=True)
    found = build_catalogue([foreign, own]).resource("scans://7")
    assert found is not None
    assert found.upstream == "scans"


def test_a_listed_resource_is_its_owners_before_other_servers_templates() -> None:
    broad = Claim("files", "files", Offer(templates=(template("file:///{+path}"),)))
    exact = Claim("notes", "notes", Offer(resources=({"uri": "file:///notes", "name": "notes"},)))
    found = build_catalogue([broad, exact]).resource("file:///notes")
    assert found is not None
    assert found.upstream == "notes"


def test_a_tool_runs_long_by_its_own_mark_by_its_servers_or_by_the_configurations() -> None:
    tools = (
        tool("plain"),
        tool("marked", _meta={"quantum/longRunning": True, "quantum/asksFirst": True}),
        tool("alone", _meta={"quantum/longRunning": "required"}),
        tool("keyed", _meta={"quantum/longRunning": "yes", "quantum/idempotencyKey": True}),
        tool("old", execution={"taskSupport": "required"}),
        tool("never", execution={"taskSupport": "forbidden"}),
        tool("told", annotations={"idempotentHint": True}),
    )
    catalogue = build_catalogue([Claim("a", "", Offer(tools=tools), long_running=frozenset({"told", "gone"}))])
    targets = {name: entry.target for name, entry in catalogue.tools.items()}
    assert {name: target.long_running for name, target in targets.items()} == {
        "plain": "no",
        "marked": "optional",
        "alone": "required",
        "keyed": "no",
        "old": "optional",  # its server insists; the hub can wait for clients that do not take tasks
        "never": "no",
        "told": "optional",
    }
    assert targets["marked"].asks_first
    assert targets["keyed"].takes_idempotency_key
    assert targets["old"].task_support == "required"
    assert targets["told"].repeatable
    assert not targets["marked"].repeatable
    shown = {name: entry.shown.get("execution") for name, entry in catalogue.tools.items()}
    assert shown["alone"] == {"taskSupport": "required"}
    assert shown["old"] == shown["told"] == {"taskSupport": "optional"}
    assert shown["plain"] is None
    assert shown["never"] is None
