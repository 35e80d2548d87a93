"""Tools as plain functions, called through the port that workflows use: what a hub is to them, without the hub."""

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from quantum_suite.core.errors import NotFound
from quantum_suite.services.workflows.interface import Owner
from quantum_suite.services.workflows.tool_calls import Progress, ToolCall
from quantum_suite.services.workflows.tool_catalogue import ToolOffer

ToolFunction = Callable[[ToolCall], Awaitable[dict[str, Any]]]


class OfferedTools:
    """Calls functions, and keeps what was called."""

    def __init__(self) -> None:
        self._tools: dict[str, ToolFunction] = {}
        self._offers: dict[str, ToolOffer] = {}
        self.calls: list[tuple[str, ToolCall]] = []

    def add(
        self,
        name: str,
        function: ToolFunction,
        schema: Mapping[str, Any] | None = None,
        *,
        output: Mapping[str, Any] | None = None,
        destructive: bool = False,
    ) -> None:
        """Offer a function under a name."""
        self._tools[name] = function
        self._offers[name] = ToolOffer(name, schema or {"type": "object"}, output, destructive)

    def returning(self, name: str, value: Mapping[str, Any], schema: Mapping[str, Any] | None = None) -> None:
        """Offer a tool that always returns the same."""

        async def function(call: ToolCall) -> dict[str, Any]:
            return complete(value)

        self.add(name, function, schema)

    def called(self, name: str) -> list[ToolCall]:
        """Return the calls of one tool."""
        return [call for _, call in self.calls if call.tool == name]

    async def call(self, owner: Owner, call: ToolCall, progress: Progress | None = None) -> dict[str, Any]:
        self.calls.append((owner.principal, call))
        if call.tool not in self._tools:
            raise NotFound(f"There is no tool '{call.tool}'.")
        result = await self._tools[call.tool](call)
        parsed: dict[str, Any] = json.loads(json.dumps(result))
        return parsed

    async def offers(self, owner: Owner) -> Mapping[str, ToolOffer]:
        return self._offers


def complete(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result with structured content."""
    text = json.dumps(value)
    return {
        "resultType": "complete",
        "content": [{"type": "text", "text": text}],
        "structuredContent": dict(value),
    }


def failed(text: str) -> dict[str, Any]:
    """Return a result that says the tool failed."""
    return {"resultType": "complete", "content": [{"type": "text", "text": text}], "isError": True}


def asking(message: str, state: str, *, required: tuple[str, ...] = ("approve",)) -> dict[str, Any]:
    """Return a result that asks for a yes."""
    schema = {"type": "object", "properties": {"approve": {"type": "boolean"}}, "required": list(required)}
    params = {"mode": "form", "message": message, "requestedSchema": schema}
    return {
        "resultType": "input_required",
        "inputRequests": {"question": {"method": "elicitation/create", "params": params}},
        "requestState": state,
    }


def finding(number: int, **other: Any) -> dict[str, Any]:
    """Return a finding as list_findings gives it."""
    fingerprint = hashlib.sha256(str(number).encode()).hexdigest()[:32]
    return {
        "fingerprint": fingerprint,
        "rule_id": f"R{number % 3}",
        "kind": "code",
        "family": f"family-{number % 3}",
        "engines": ["ruff"],
        "title": f"Title {number % 3}",
        "message": "Found.",
        "cwe": [78],
        "severity": "high",
        "confidence": "medium",
        "location": {"path": f"src/{number}.py", "region": {"start_line": number + 1, "end_line": number + 1}},
        **other,
    }


def security_tools(tools: OfferedTools, findings: list[dict[str, Any]], *, page: int = 100) -> None:
    """Offer what the shipped workflows call, over these findings."""
    counts = dict.fromkeys(("critical", "high", "medium", "low", "info"), 0)
    for one in findings:
        counts[one["severity"]] += 1

    async def scan(call: ToolCall) -> dict[str, Any]:
        path = str(call.arguments["path"])
        if "absent" in path:
            return failed(f"path: {path} is not in a workspace.")
        return complete(
            {
                "scan": f"scan_{hashlib.sha256(path.encode()).hexdigest()[:8]}",
                "state": "completed",
                "root": path,
                "files": 3,
                "counts": counts,
                "suppressed": 0,
                "matching": len(findings),
                "worst": [],
                "engines": [],
                "not_assessed": [{"what": "JavaScript", "reason": "No engine reads it."}],
                "sarif": "quantum://qsecure/scans/s/sarif",
                "markdown": "quantum://qsecure/scans/s/markdown",
            }
        )

    async def listed(call: ToolCall) -> dict[str, Any]:
        start = int(call.arguments.get("cursor") or 0)
        more = start + page < len(findings)
        return complete(
            {
                "scan": call.arguments["scan"],
                "findings": findings[start : start + page],
                "total": len(findings),
                "next_cursor": str(start + page) if more else None,
            }
        )

    async def explain(call: ToolCall) -> dict[str, Any]:
        return complete(
            {
                "scan": "s",
                "finding": {"fingerprint": call.arguments["finding"]},
                "why": "Because.",
                "remediation": "Mend it.",
                "cwe_links": [],
                "accuracy": {"summary": "not measured"},
            }
        )

    tools.add("qsecure_scan_repository", scan)
    tools.add("qsecure_list_findings", listed)
    tools.add("qsecure_explain_finding", explain)
