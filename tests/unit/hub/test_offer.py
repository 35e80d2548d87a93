"""What an upstream offers is read whole, and what breaks the protocol is left out and named."""

from typing import Any

import pytest

from quantum_suite.hub.call import METHOD_NOT_FOUND, RpcError
from quantum_suite.hub.offer import MAX_ENTRY_BYTES, MAX_PAGES, read_offer

Json = dict[str, Any]


def nested(levels: int) -> Json:
    value: Json = {}
    for _ in range(levels):
        value = {"deeper": value}
    return value


def answering(answers: dict[str, Json]) -> Any:
    async def ask(method: str, params: Json) -> Json:
        return answers[method]

    return ask


@pytest.mark.anyio
async def test_pages_are_followed_to_their_end() -> None:
    async def ask(method: str, params: Json) -> Json:
        page = int(params.get("cursor", "0"))
        schema = {"type": "object"}
        more = {"nextCursor": str(page + 1)} if page < 2 else {}
        return {"tools": [{"name": f"t{page}", "inputSchema": schema}], **more}

    offer = await read_offer(ask, {"tools": {}})
    assert [tool["name"] for tool in offer.tools] == ["t0", "t1", "t2"]
    assert offer.faults == ()


@pytest.mark.anyio
async def test_a_list_that_never_ends_is_cut_and_said_so() -> None:
    asked = 0

    async def ask(method: str, params: Json) -> Json:
        nonlocal asked
        asked += 1
        return {"tools": [{"name": f"t{asked}", "inputSchema": {"type": "object"}}], "nextCursor": str(asked)}

    offer = await read_offer(ask, {"tools": {}})
    assert len(offer.tools) == MAX_PAGES
    assert "does not end" in offer.faults[0]


@pytest.mark.anyio
async def test_a_cursor_that_goes_in_circles_ends_the_reading() -> None:
    page = {"tools": [{"name": "t", "inputSchema": {"type": "object"}}], "nextCursor": "again"}
    offer = await read_offer(answering({"tools/list": page}), {"tools": {}})
    assert len(offer.tools) == 1
    assert any("does not end" in fault for fault in offer.faults)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ("no object", "not an object"),
        ({"inputSchema": {"type": "object"}}, "no name"),
        ({"name": "t"}, "no inputSchema"),
        ({"name": "t", "inputSchema": {"type": "string"}}, "no inputSchema of type object"),
        ({"name": "t", "inputSchema": {"type": "object", "properties": {"x": 1}}}, "no schemas"),
        ({"name": "t" * 200, "inputSchema": {"type": "object"}}, "longer than"),
        ({"name": "t", "inputSchema": {"type": "object"}, "description": "x" * MAX_ENTRY_BYTES}, "larger than"),
        ({"name": "t", "inputSchema": {"type": "object"}, "description": 42}, "in description"),
        ({"name": "t", "inputSchema": {"type": "object"}, "outputSchema": "text"}, "in outputSchema"),
        ({"name": "t", "inputSchema": {"type": "object"}, "annotations": "safe"}, "in annotations"),
        ({"name": "two\nlines", "inputSchema": {"type": "object"}}, "cannot be seen"),
        ({"name": "t", "inputSchema": {"type": "object", "default": nested(300)}}, "cannot be passed on"),
    ],
)
async def test_a_bad_tool_is_left_out_and_the_others_stand(entry: object, complaint: str) -> None:
    good = {"name": "good", "inputSchema": {"type": "object"}}
    offer = await read_offer(answering({"tools/list": {"tools": [entry, good]}}), {"tools": {}})
    assert offer.tools == (good,)
    assert complaint in offer.faults[0]


@pytest.mark.anyio
async def test_a_name_listed_twice_counts_once() -> None:
    tools = [{"name": "t", "inputSchema": {"type": "object"}, "title": str(n)} for n in range(2)]
    offer = await read_offer(answering({"tools/list": {"tools": tools}}), {"tools": {}})
    assert [tool["title"] for tool in offer.tools] == ["0"]
    assert "listed twice" in offer.faults[0]


@pytest.mark.anyio
async def test_only_what_the_capabilities_announce_is_asked_for() -> None:
    offer = await read_offer(answering({"prompts/list": {"prompts": [{"name": "p"}]}}), {"prompts": {}})
    assert [prompt["name"] for prompt in offer.prompts] == ["p"]


@pytest.mark.anyio
async def test_a_server_without_templates_still_offers_its_resources() -> None:
    async def ask(method: str, params: Json) -> Json:
        if method == "resources/templates/list":
            raise RpcError(METHOD_NOT_FOUND, "Method not found")
        return {"resources": [{"uri": "a://b", "name": "b"}]}

    offer = await read_offer(ask, {"resources": {}})
    assert len(offer.resources) == 1
    assert offer.templates == ()


@pytest.mark.anyio
async def test_an_answer_without_the_list_is_an_error_of_the_upstreams() -> None:
    with pytest.raises(RpcError, match="holds no list 'tools'"):
        await read_offer(answering({"tools/list": {"tools": "many"}}), {"tools": {}})
