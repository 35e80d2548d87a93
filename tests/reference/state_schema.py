"""What Pulumi's published JSON schema asks of a state (sdk/go/common/apitype/*.json), written down anew.

The bench checks states with the published files themselves; they are fetched, never kept here.
"""

from typing import Any

from jsonschema import Draft202012Validator

SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET = "1b47061264138c4ac30d75fd1eb44270"
_URNS = {"type": "array", "items": {"type": "string"}}
_VALUES = {"type": "object", "additionalProperties": {"$ref": "#/$defs/value"}}

STATE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["version", "deployment"],
    "additionalProperties": False,
    "properties": {
        "version": {"const": 3},
        "deployment": {
            "type": "object",
            "required": ["manifest"],
            "additionalProperties": False,
            "properties": {
                "manifest": {
                    "type": "object",
                    "required": ["time", "magic", "version"],
                    "additionalProperties": False,
                    "properties": {
                        "time": {"type": "string", "format": "date-time"},
                        "magic": {"type": "string"},
                        "version": {"type": "string"},
                        "plugins": {"type": "array"},
                    },
                },
                "secrets_providers": {
                    "type": "object",
                    "required": ["type"],
                    "properties": {"type": {"type": "string"}},
                },
                "resources": {"type": "array", "items": {"$ref": "#/$defs/resource"}},
                "pending_operations": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["resource", "type"],
                        "additionalProperties": False,
                        "properties": {
                            "resource": {"$ref": "#/$defs/resource"},
                            "type": {"enum": ["creating", "updating", "deleting", "reading"]},
                        },
                    },
                },
                "metadata": {"type": "object"},
            },
        },
    },
    "$defs": {
        "resource": {
            "type": "object",
            "required": ["urn"],
            "additionalProperties": False,
            "properties": {
                **{name: {"type": "string"} for name in ("urn", "id", "type", "parent", "provider", "importID")},
                **{
                    name: {"type": "boolean"}
                    for name in ("custom", "delete", "protect", "external", "pendingReplacement")
                },
                **dict.fromkeys(("dependencies", "aliases", "initErrors", "additionalSecretOutputs"), _URNS),
                "inputs": _VALUES,
                "outputs": _VALUES,
                "propertyDependencies": {"type": "object", "additionalProperties": _URNS},
                "customTimeouts": {"type": "object"},
            },
        },
        "value": {
            "oneOf": [
                {"type": ["null", "boolean", "number", "string"]},
                {"type": "array", "items": {"$ref": "#/$defs/value"}},
                {
                    "type": "object",
                    "properties": {SIGNATURE: False},
                    "additionalProperties": {"$ref": "#/$defs/value"},
                },
                {
                    "type": "object",
                    "required": [SIGNATURE, "ciphertext"],
                    "properties": {
                        SIGNATURE: {"const": SECRET},
                        "ciphertext": {"type": "string"},
                        "plaintext": False,
                    },
                },
            ]
        },
    },
}


def state_problems(document: Any) -> list[str]:
    """Return what is wrong with a state."""
    return [error.message for error in Draft202012Validator(STATE_SCHEMA).iter_errors(document)]
