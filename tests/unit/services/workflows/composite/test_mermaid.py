"""Definitions and runs as Mermaid graphs."""

import re
from datetime import UTC, datetime

from quantum_suite.services.workflows.composite.mermaid import (
    definition_graph,
    escaped,
    plain_graph,
    run_graph,
    states_of,
)
from quantum_suite.services.workflows.composite.model import Definition
from quantum_suite.services.workflows.composite.reading import read_definition
from quantum_suite.services.workflows.composite.steps import read_steps
from quantum_suite.services.workflows.interface import Owner, Run, StepRecord

TEXT = """\
name: x
inputs: {deep: {type: boolean}}
steps:
  - {id: scan, call: scan_it, undo: {call: drop_it}}
  - id: both
    parallel:
      one: [{id: left, call: look}]
      two: [{id: right, do: think}]
  - id: each
    title: Every one
    for_each: {items: "${{ [1] }}", as: it, steps: [{id: say, call: say_it}]}
  - {id: ok, when: inputs.deep, approval: {question: "Go <b>\\"on\\"</b>?"}}
  - {id: other, workflow: small}
  - sleep: 3
"""

GRAPH = """\
flowchart TD
  start(["x"])
  n1["scan: scan_it"]
  n2>"undo: drop_it"]
  n1 -.- n2
  start --> n1
  n3{"at once"}
  n1 --> n3
  n4["left: look"]
  n3 --> n4
  n5["right: think"]
  n3 --> n5
  n6{"for each it in #91;1#93;"}
  n4 --> n6
  n5 --> n6
  subgraph n7["Every one"]
    n8["say: say_it"]
    n6 --> n8
  end
  n8 -.->|"next"| n6
  n9{{"ok: Go #60;b#62;#34;on#34;#60;/b#62;?"}}
  n6 -->|"when inputs.deep"| n9
  n10[["other: workflow small"]]
  n9 --> n10
  n6 -->|"otherwise"| n10
  n11("wait 3 s")
  n10 --> n11
  finish(["end"])
  n11 --> finish
"""


def definition() -> Definition:
    read, problems = read_definition(TEXT, read_steps)
    assert problems == []
    return read


def run(**status: object) -> Run:
    now = datetime.now(UTC)
    return Run("run_1", "x", "1", "running", Owner("ada"), {}, now, now, status=status)


def test_a_definition_is_drawn_the_same_every_time() -> None:
    assert definition_graph(definition()) == GRAPH == definition_graph(definition())


def test_a_run_is_coloured_by_how_its_steps_stand() -> None:
    steps = [
        StepRecord(1, "scan", "completed"),
        StepRecord(2, "both.left", "completed"),
        StepRecord(3, "both.right (answered 1)", "running"),
        StepRecord(4, "each[0].say", "completed"),
        StepRecord(5, "each[1].say", "failed"),
        StepRecord(6, "unknown", "completed"),
    ]
    standing = run(stages={"ok": "waiting"})
    assert states_of(definition(), standing, steps) == {
        "scan": "completed",
        "both": "running",
        "left": "completed",
        "right": "running",
        "each": "failed",
        "say": "failed",
        "ok": "waiting",
    }
    graph = run_graph(definition(), standing, steps)
    assert "  class n1 completed\n" in graph
    assert "    class n8 failed\n" in graph
    assert "  class n9 waiting\n" in graph
    assert "classDef waiting " in graph


def test_a_run_without_a_definition_shows_its_steps_in_a_row() -> None:
    graph = plain_graph(run(), [StepRecord(1, "a", "completed"), StepRecord(2, "b", "running")])
    assert "  start --> n1\n" in graph
    assert "  n1 --> n2\n" in graph


def test_a_label_cannot_end_itself_or_become_markup() -> None:
    hostile = '"] --> x; click n1 "javascript:alert(1)"\nend\u202e`**b**`#quot;<img src=x>%%{init}'
    label = escaped(hostile)
    assert re.fullmatch(r"(?:[\w .,:?!/+=-]|#\d+;)*", label)
    assert len(escaped("x" * 500)) == 80
