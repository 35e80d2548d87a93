"""The reference server's tools and prompts that ask the client something before they can answer.

The handshake era asks on the way (`elicitation/create`, `sampling/createMessage`); 2026-07-28 answers with an
`InputRequiredResult` and is called again with the answers (specification 2026-07-28, basic/patterns).
"""

import json
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.shared.message import ServerMessageMetadata
from mcp.types import (
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequest,
    InputRequiredResult,
    ListRootsRequest,
    ListRootsResult,
    SamplingMessage,
    TextContent,
)
from pydantic import BaseModel, Field

Answer = str | InputRequiredResult


def register_asking(server: MCPServer[Any]) -> None:
    """Add every asking tool and prompt to `server`."""
    _register_back_channel(server)
    _register_single_round(server)
    _register_state(server)


def _form(message: str, field: str, kind: str = "string") -> ElicitRequest:
    schema: dict[str, Any] = {"type": "object", "properties": {field: {"type": kind}}, "required": [field]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def _sample(text: str, max_tokens: int) -> CreateMessageRequest:
    message = SamplingMessage(role="user", content=TextContent(type="text", text=text))
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=[message], max_tokens=max_tokens))


def _filled(ctx: Context[Any, Any], key: str, field: str) -> Any:
    """What the user put into `field` of the form asked under `key`; None when it has not been answered."""
    answer = (ctx.input_responses or {}).get(key)
    if not isinstance(answer, ElicitResult) or answer.content is None:
        return None
    return answer.content.get(field)


class UserAnswer(BaseModel):
    """What `test_elicitation` asks for."""

    username: str = Field(description="User's response")
    email: str = Field(description="User's email address")


class Defaults(BaseModel):
    """A form in which every kind of field has a default (SEP-1034)."""

    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: str = Field(default="active", json_schema_extra={"enum": ["active", "inactive", "pending"]})
    verified: bool = True


def _titled(**titles: str) -> list[dict[str, str]]:
    return [{"const": value, "title": title} for value, title in titles.items()]


CHOICES: dict[str, Any] = {
    "type": "object",
    "properties": {
        "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
        "titledSingle": {"type": "string", "oneOf": _titled(value1="First", value2="Second", value3="Third")},
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": ["option1", "option2", "option3"]}},
        "titledMulti": {
            "type": "array",
            "items": {"anyOf": _titled(value1="First", value2="Second", value3="Third")},
        },
    },
}
"""Every way of offering a choice (SEP-1330)."""


def _register_back_channel(server: MCPServer[Any]) -> None:
    @server.tool()
    async def test_sampling(prompt: str, ctx: Context[Any, Any]) -> str:
        """Have the client's model answer the prompt."""
        # Sent as a request of its own: the typed helper is deprecated with the capability (SEP-2577) and warns.
        result = await ctx.session.send_request(
            _sample(prompt, 100),
            CreateMessageResult,
            metadata=ServerMessageMetadata(related_request_id=ctx.request_id),
        )
        text = result.content.text if isinstance(result.content, TextContent) else "no text"
        return f"LLM response: {text}"

    @server.tool()
    async def test_elicitation(message: str, ctx: Context[Any, Any]) -> str:
        """Have the user fill in a form."""
        result = await ctx.elicit(message, UserAnswer)
        content = result.data.model_dump_json() if result.action == "accept" else "{}"
        return f"User response: action={result.action}, content={content}"

    @server.tool()
    async def test_elicitation_sep1034_defaults(ctx: Context[Any, Any]) -> str:
        """Have the user fill in a form whose fields have defaults."""
        result = await ctx.elicit("Check these", Defaults)
        content = result.data.model_dump_json() if result.action == "accept" else "{}"
        return f"Elicitation completed: action={result.action}, content={content}"

    @server.tool()
    async def test_elicitation_sep1330_enums(ctx: Context[Any, Any]) -> str:
        """Have the user choose, in every form a choice can take."""
        result = await ctx.session.elicit_form("Choose", CHOICES, related_request_id=ctx.request_id)
        return f"Elicitation completed: action={result.action}, content={json.dumps(result.content)}"


def _register_single_round(server: MCPServer[Any]) -> None:
    async def ask_name(ctx: Context[Any, Any]) -> Answer:
        name = _filled(ctx, "user_name", "name")
        if name is None:
            return InputRequiredResult(input_requests={"user_name": _form("What is your name?", "name")})
        return f"Hello, {name}!"

    server.add_tool(
        ask_name, "test_input_required_result_elicitation", description="Greet, once the name is known."
    )
    server.add_tool(ask_name, "test_streaming_elicitation", description="Greet, asking in the result alone.")

    @server.tool()
    async def test_input_required_result_sampling(ctx: Context[Any, Any]) -> Answer:
        """Pass on what the client's model says."""
        answer = (ctx.input_responses or {}).get("capital_question")
        if not isinstance(answer, CreateMessageResult):
            question = _sample("What is the capital of France?", 100)
            return InputRequiredResult(input_requests={"capital_question": question})
        return answer.content.text if isinstance(answer.content, TextContent) else "no text"

    @server.tool()
    async def test_input_required_result_list_roots(ctx: Context[Any, Any]) -> Answer:
        """Name the client's roots."""
        answer = (ctx.input_responses or {}).get("client_roots")
        if not isinstance(answer, ListRootsResult):
            return InputRequiredResult(input_requests={"client_roots": ListRootsRequest()})
        return "Roots: " + ", ".join(str(root.uri) for root in answer.roots)

    @server.tool()
    async def test_input_required_result_capabilities(ctx: Context[Any, Any]) -> InputRequiredResult:
        """Ask only what the client says it can answer."""
        declared = ctx.client_capabilities
        requests: dict[str, InputRequest] = {}
        if declared is not None and declared.sampling is not None:
            requests["sample"] = _sample("Say hello", 50)
        if declared is not None and declared.elicitation is not None:
            requests["ask"] = _form("What is your name?", "name")
        return InputRequiredResult(input_requests=requests, request_state="asked")

    @server.prompt()
    async def test_input_required_result_prompt(ctx: Context[Any, Any]) -> list[UserMessage] | InputRequiredResult:
        """A message in the context the user names."""
        context = _filled(ctx, "user_context", "context")
        if context is None:
            return InputRequiredResult(
                input_requests={"user_context": _form("What context should the prompt use?", "context")}
            )
        return [UserMessage(f"In the context of {context}, go on.")]


def _register_state(server: MCPServer[Any]) -> None:
    """Tools that carry state from round to round; the SDK seals it, so that a changed one never arrives here."""

    @server.tool()
    async def test_input_required_result_request_state(ctx: Context[Any, Any]) -> Answer:
        """Confirm, if the state came back with the answer."""
        if _filled(ctx, "confirm", "ok") is not None and ctx.request_state == "awaiting-confirmation":
            return "state-ok"
        confirm = _form("Please confirm", "ok", "boolean")
        return InputRequiredResult(input_requests={"confirm": confirm}, request_state="awaiting-confirmation")

    @server.tool()
    async def test_input_required_result_tampered_state(ctx: Context[Any, Any]) -> Answer:
        """Confirm, unless the state was changed on the way."""
        if ctx.request_state == "untampered":
            return "state-ok"
        confirm = _form("Please confirm", "ok", "boolean")
        return InputRequiredResult(input_requests={"confirm": confirm}, request_state="untampered")

    @server.tool()
    async def test_input_required_result_multiple_inputs(ctx: Context[Any, Any]) -> Answer:
        """Ask for a form, a sample and the roots at once."""
        requests: dict[str, InputRequest] = {
            "user_name": _form("What is your name?", "name"),
            "greeting": _sample("Generate a greeting", 50),
            "client_roots": ListRootsRequest(),
        }
        if requests.keys() <= (ctx.input_responses or {}).keys():
            return "All three were answered."
        return InputRequiredResult(input_requests=requests, request_state="three-asked")

    @server.tool()
    async def test_input_required_result_multi_round(ctx: Context[Any, Any]) -> Answer:
        """Ask for a name, then for a colour."""
        name = _filled(ctx, "step1", "name")
        color = _filled(ctx, "step2", "color")
        known = json.loads(ctx.request_state) if ctx.request_state else {}
        if color is not None and "name" in known:
            return f"{known['name']} likes {color}."
        if name is not None and known.get("asked") == "name":
            question = _form("Step 2: What is your favorite color?", "color")
            return InputRequiredResult(
                input_requests={"step2": question}, request_state=json.dumps({"name": name})
            )
        question = _form("Step 1: What is your name?", "name")
        return InputRequiredResult(input_requests={"step1": question}, request_state=json.dumps({"asked": "name"}))
