"""The client commands against a real MCP server."""

import io
import json
import socket
from pathlib import Path

import pytest
from commandline.running import Quantum

from quantum_suite.core.errors import CallerError, NotFound, RateLimited, Refused, SuiteError, Unavailable
from quantum_suite.hub import call as rpc
from quantum_suite.hub.cli.exits import ExitCode
from quantum_suite.hub.cli.reach import of_rpc


@pytest.fixture
def at(reference_url: str, monkeypatch: pytest.MonkeyPatch, home: Path) -> str:
    """Have the commands talk to the reference server."""
    monkeypatch.setenv("QUANTUM_URL", reference_url)
    return reference_url


def test_tools_are_listed(quantum: Quantum, at: str) -> None:
    assert "test_simple_text" in quantum("tools").out
    names = [tool["name"] for tool in json.loads(quantum("tools", "--json").out)["tools"]]
    assert "echo" in names


def test_one_tool_is_shown_with_its_arguments(quantum: Quantum, at: str) -> None:
    ran = quantum("tools", "echo")
    assert "text" in ran.out
    assert "  text=string, required\n" in ran.out
    assert json.loads(quantum("tools", "echo", "--json").out)["name"] == "echo"


def test_resources_and_prompts_are_listed(quantum: Quantum, at: str) -> None:
    resources = quantum("resources").out
    assert "test://static-text" in resources
    assert "test://template/{id}/data" in resources
    listed = json.loads(quantum("resources", "--json").out)
    assert {"resources", "resourceTemplates"} == set(listed)
    assert "test_prompt_with_arguments" in quantum("prompts").out
    assert json.loads(quantum("prompts", "--json").out)["prompts"]


def test_a_call_prints_its_answer_alone_on_stdout(quantum: Quantum, at: str) -> None:
    ran = quantum("call", "echo", "text=hello there")
    assert (ran.code, ran.out, ran.err) == (0, "hello there\n", "")


def test_a_call_for_machines_is_the_whole_result(quantum: Quantum, at: str) -> None:
    result = json.loads(quantum("call", "echo", "--args", '{"text": "x"}', "--json").out)
    assert result["content"][0]["text"] == "x"


def test_an_error_the_tool_reports_is_exit_code_1(quantum: Quantum, at: str) -> None:
    ran = quantum("call", "test_error_handling")
    assert ran.code == ExitCode.FAILED
    assert ran.out == ""
    assert "The tool reported an error" in ran.err


def test_progress_does_not_reach_a_pipe(quantum: Quantum, at: str) -> None:
    ran = quantum("call", "test_tool_with_progress")
    assert ran.code == 0
    assert ran.err == ""


def test_images_are_named_not_printed(quantum: Quantum, at: str) -> None:
    assert "image/png" in quantum("call", "test_image_content").out


def test_what_the_tool_asks_is_asked_on_the_terminal(
    quantum: Quantum, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\nyes\n"))
    ran = quantum("call", "test_input_required_result_request_state")
    assert ran.code == 0
    assert "The tool asks:" in ran.err
    assert "The tool asks:" not in ran.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["ecoh"], "Did you mean echo"),
        (["echo"], "echo needs text"),
        (["echo", "txet=1"], "Did you mean text"),
        (["echo", "text"], "KEY=VALUE"),
    ],
)
def test_a_wrong_call_is_explained_before_it_is_made(
    quantum: Quantum, at: str, arguments: list[str], says: str
) -> None:
    ran = quantum("call", *arguments)
    assert ran.code == ExitCode.USAGE
    assert says in ran.err


def test_text_resources_are_printed_as_they_are(quantum: Quantum, at: str) -> None:
    ran = quantum("read", "test://static-text")
    assert ran.out.endswith("\n")
    assert json.loads(quantum("read", "test://static-text", "--json").out)["contents"][0]["text"] in ran.out


def test_bytes_go_to_a_file(quantum: Quantum, at: str, home: Path) -> None:
    assert quantum("read", "test://static-binary", "-o", "x.png").code == 0
    assert (home / "x.png").read_bytes().startswith(b"\x89PNG")
    ran = quantum("read", "test://static-binary", "-o", "missing/x.png")
    assert ran.code == ExitCode.USAGE
    assert "cannot be written" in ran.err


def test_an_unknown_resource_is_a_usage_error(quantum: Quantum, at: str) -> None:
    assert quantum("read", "test://nothing").code == ExitCode.USAGE


def test_a_named_hub_that_does_not_answer_is_not_replaced_by_another(quantum: Quantum) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        ran = quantum("tools", "--url", f"http://127.0.0.1:{held.getsockname()[1]}/mcp")
    assert ran.code == ExitCode.UNAVAILABLE
    assert "Nothing answers" in ran.err
    assert "quantum up" in ran.err


def test_an_address_that_is_none_is_a_usage_error(quantum: Quantum) -> None:
    assert quantum("tools", "--url", "localhost:8765").code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (rpc.UNAUTHENTICATED, Refused),
        (rpc.REFUSED, Refused),
        (rpc.MISSING_CLIENT_CAPABILITY, Refused),
        (rpc.RATE_LIMITED, RateLimited),
        (rpc.UPSTREAM_UNAVAILABLE, Unavailable),
        (rpc.CONNECTION_CLOSED, Unavailable),
        (rpc.REQUEST_TIMEOUT, Unavailable),
        (rpc.INVALID_PARAMS, CallerError),
        (rpc.LEGACY_RESOURCE_NOT_FOUND, NotFound),
        (rpc.INTERNAL_ERROR, SuiteError),
    ],
)
def test_protocol_errors_become_the_suites_own(code: int, kind: type[SuiteError]) -> None:
    error = of_rpc(code, "said\x1b", {"hint": "do this"})
    assert type(error) is kind
    assert (error.message, error.hint) == ("said\ufffd", "do this")
