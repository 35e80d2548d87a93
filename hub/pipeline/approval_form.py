"""The question an approval puts to a person, and how the answer is read."""

import json
import unicodedata
from typing import Any

from quantum_suite.core.masking import mask_value
from quantum_suite.hub.call import Call, Json
from quantum_suite.hub.target import Target

MAX_ARGUMENT_CHARACTERS = 4000
"""Longest part of the arguments shown; the question says when there is more."""

_UNSEEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
"""Unicode's general categories of what a person does not see as it is."""


def can_ask(call: Call) -> bool:
    """Whether the client declared that it can put a form to a person (`elicitation`; empty means forms)."""
    capabilities = call.client_capabilities
    if not capabilities and call.session is not None:
        capabilities = call.session.capabilities
    elicitation = capabilities.get("elicitation")
    return isinstance(elicitation, dict) and (not elicitation or "form" in elicitation)


def question(call: Call, target: Target) -> Json:
    """Return the parameters of the `elicitation/create` request that asks for this call.

    The person sees what they say yes to: the tool, its server and the arguments, secrets masked, characters that
    are not to be seen spelled out.
    """
    effect = "It may destroy or overwrite something. " if target.destructive else ""
    masked = mask_value(call.params.get("arguments") or {})
    arguments = _visible(json.dumps(masked, ensure_ascii=False, default=str))
    if len(arguments) > MAX_ARGUMENT_CHARACTERS:
        more = len(arguments) - MAX_ARGUMENT_CHARACTERS
        arguments = f"{arguments[:MAX_ARGUMENT_CHARACTERS]} ... and {more} characters more, not shown here"
    return {
        "message": (
            f"Run the tool {_visible(target.name)} of the server {_visible(target.upstream)}? {effect}"
            f"Arguments: {arguments}"
        ),
        "requestedSchema": {
            "type": "object",
            "properties": {
                "approve": {
                    "type": "boolean",
                    "title": "Run it",
                    "description": "Yes runs it once, with exactly these arguments.",
                    "default": False,
                }
            },
            "required": ["approve"],
        },
    }


def verdict(answer: Any) -> bool | None:
    """Read an elicitation's result: yes, no, or None when it is not an answer to the question."""
    if not isinstance(answer, dict):
        return None
    match answer.get("action"):
        case "decline" | "cancel":
            return False
        case "accept":
            content = answer.get("content")
            approve = content.get("approve") if isinstance(content, dict) else None
            return approve if isinstance(approve, bool) else None
        case _:
            return None


def _visible(text: str) -> str:
    """Spell out control, format, private and line-breaking characters: they can make a text read as another."""
    return "".join(_spelled(c) if unicodedata.category(c) in _UNSEEN else c for c in text)


def _spelled(character: str) -> str:
    return f"\\u{{{ord(character):x}}}"
