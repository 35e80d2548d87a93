#!/usr/bin/env python3
"""Stands in for the `pulumi` command, as far as its documented interface goes: one resource, kept in a file.

It prints a PreviewDigest for previews, writes an event log for runs, exports a deployment, and logs its arguments.
"""

import json
import sys
from pathlib import Path

URN = "urn:pulumi:dev::shop::mem:index:Thing::thing"
arguments = sys.argv[1:]
here = Path.cwd()
with (here / "calls").open("a") as log:
    log.write(json.dumps(arguments) + "\n")
path = here / "state.json"
state = json.loads(path.read_text()) if path.exists() else None
verb = arguments[0]
config = dict(one.removeprefix("--config=").split("=", 1) for one in arguments if one.startswith("--config="))


def option(name):
    return arguments[arguments.index(name) + 1] if name in arguments else None


def resource(word):
    secret = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:x:y"}
    inputs = {"word": word, "pin": secret}
    return {
        "urn": URN,
        "custom": True,
        "type": "mem:index:Thing",
        "id": "thing-1",
        "inputs": inputs,
        "outputs": inputs,
    }


wanted = resource(config.get("word", "hello"))
if config.get("word") == "bad":
    print(json.dumps({"steps": [], "diagnostics": [{"severity": "error", "message": "the program failed"}]}))
    sys.exit(1)
if verb == "stack" and arguments[1] == "export":
    resources = [state] if state else []
    print(json.dumps({"version": 3, "deployment": {"manifest": {}, "resources": resources}}))
elif verb == "stack":
    print(json.dumps({"word": state["inputs"]["word"]} if state else {}))
elif verb == "preview" or "--preview-only" in arguments:
    if verb == "destroy":
        steps = [{"op": "delete", "urn": URN, "oldState": state}] if state else []
    elif state is None:
        steps = [{"op": "create", "urn": URN, "newState": wanted}]
    elif state["inputs"] == wanted["inputs"]:
        steps = [{"op": "same", "urn": URN, "oldState": state, "newState": wanted}]
    else:
        steps = [
            {"op": op, "urn": URN, "oldState": state, "newState": wanted, "replaceReasons": ["word"]}
            for op in ("create-replacement", "replace", "delete-replaced")
        ]
    if option("--save-plan"):
        Path(option("--save-plan")).write_text("{}")
    print(json.dumps({"steps": steps, "diagnostics": [{"severity": "info", "message": "hello"}]}))
else:
    if verb == "up":
        assert Path(option("--plan")).exists()
        path.write_text(json.dumps(wanted))
    elif verb == "destroy":
        path.unlink()
    op = {"up": "create", "destroy": "delete"}.get(verb, "refresh")
    failing = config.get("word") == "failing"
    event = (
        {"resOpFailedEvent": {"metadata": {"op": op, "urn": URN}}}
        if failing
        else {"resOutputsEvent": {"metadata": {"op": op, "urn": URN}}}
    )
    Path(option("--event-log")).write_text(json.dumps(event) + '\n{"cut')
    sys.exit(1 if failing else 0)
