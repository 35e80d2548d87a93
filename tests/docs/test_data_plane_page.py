"""The page on what the suite keeps: the rules it shows can be used, and every place of a setting is named."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from docs.pages import ROOT

from quantum_suite.core.events import Event, EventData, Position
from quantum_suite.hub.data_plane.stores import registered_types
from quantum_suite.services.notifications.loading import load_rules
from quantum_suite.services.notifications.templates import fill, look_up

PAGE = (ROOT / "docs" / "data-plane.md").read_text(encoding="utf-8")
RULES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
TYPES = {data.event_type: data for data in registered_types()}


def paths_in(template: str) -> list[str]:
    return re.findall(r"\{([a-z_.]+)\}", template)


@pytest.mark.parametrize("text", RULES)
def test_the_rules_that_are_shown_are_read_and_name_fields_that_exist(text: str, tmp_path: Path) -> None:
    file = tmp_path / "notifications.yaml"
    file.write_text(text)

    for rule in load_rules(file).rules:
        for name in rule.events:
            event = an_event(TYPES[name])
            for path in [*rule.where, *paths_in(rule.title), *paths_in(rule.text)]:
                assert look_up(event, path) is not None, f"{rule.name}: {name} has no {path}"
            assert "{" not in fill(rule.title, event)


def an_event(data: type[EventData]) -> Event:
    """Return an event whose every field says something."""
    schema = data.model_json_schema()
    return Event(
        position=Position("1"),
        stream="some.thing/1",
        version=1,
        id="evt_1",
        type=f"{data.event_type}.v{data.event_version}",
        time=datetime.now(UTC),
        data={name: example(field, schema) for name, field in schema["properties"].items()},
    )


def example(field: dict[str, object], schema: dict[str, dict[str, dict[str, dict[str, object]]]]) -> object:
    reference = field.get("$ref")
    if isinstance(reference, str):
        inner = schema["$defs"][reference.rpartition("/")[2]]["properties"]
        return {name: example(one, schema) for name, one in inner.items()}
    return {"integer": 1, "number": 1.5, "array": ["a"]}.get(str(field.get("type")), "text")
