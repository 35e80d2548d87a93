"""Reads the steps of a definition."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from quantum_suite.services.workflows.composite.model import (
    DAY_SECONDS,
    LONGEST_SECONDS,
    Approval,
    Call,
    Child,
    Do,
    ForEach,
    Kind,
    Loop,
    Parallel,
    Set,
    Sleep,
    Step,
    Undo,
    Work,
)
from quantum_suite.services.workflows.composite.problems import near
from quantum_suite.services.workflows.composite.reading import NAME, Reader
from quantum_suite.services.workflows.composite.templates import Template
from quantum_suite.services.workflows.interface import ONCE, Retry
from quantum_suite.services.yaml_nodes import Node

MOST_ROUNDS = 1000
MOST_BRANCHES = 16
MOST_ATTEMPTS = 20

_KINDS: tuple[Kind, ...] = (
    *("call", "do", "workflow", "parallel", "for_each", "loop", "approval", "sleep", "set"),
)
_OWN: dict[Kind, tuple[str, ...]] = {
    "call": ("with", "retry", "deadline_seconds", "undo", "approvers", "approval_timeout_seconds"),
    "do": ("with", "retry", "deadline_seconds", "undo"),
    "workflow": ("with",),
}
_COMMON = ("id", "title", "when", "on_error")
_UNUSABLE = Set({})


def read_steps(reader: Reader, node: Node | None) -> tuple[Step, ...]:
    """Read the whole list, name what has no name, and see to it that no name is there twice."""
    steps = _block(reader, node)
    seen: dict[str, Node] = {}
    _unique(steps, reader, seen)
    return _named(steps, seen, [0])


def _block(reader: Reader, node: Node | None) -> tuple[Step, ...]:
    return reader.items(node, lambda one: _step(reader, one), "'steps'")


def _step(reader: Reader, node: Node) -> Step | None:
    kinds = [kind for kind in _KINDS if isinstance(node.value, dict) and kind in node.value]
    if len(kinds) != 1:
        _tell_no_step(reader, node, kinds)
        return None
    kind = kinds[0]
    entries = reader.mapping(node, (*_COMMON, kind, *_OWN.get(kind, ())), f"A step with '{kind}'")
    like = "Use small letters, digits and _, beginning with a letter."
    name = reader.text(entries.get("id"), "", of=NAME, like=like)
    return Step(
        id=name,
        kind=kind,
        work=_READERS[kind](reader, entries[kind], entries),
        node=node.keys[kind],
        named=bool(name),
        title=reader.text(entries.get("title"), "") or None,
        when=reader.template(entries.get("when"), bare=True),
        retry=_retry(reader, entries.get("retry")),
        deadline_seconds=reader.number(entries.get("deadline_seconds"), None, 0.1, DAY_SECONDS),
        undo=_undo(reader, entries.get("undo")),
        goes_on=reader.choice(entries.get("on_error"), "fail", ("fail", "continue")) == "continue",
    )


def _tell_no_step(reader: Reader, node: Node, kinds: list[Kind]) -> None:
    if not isinstance(node.value, dict):
        reader.problems.append(node.problem("A step must be a mapping.", "Write '- call: <tool>'."))
    elif kinds:
        second = node.keys[kinds[1]]
        reader.problems.append(
            second.problem(f"A step has either '{kinds[0]}' or '{kinds[1]}'.", "Make it two steps.")
        )
    else:
        unknown = [key for key in node.value if key not in (*_COMMON, *_OWN["call"])]
        place = node.keys[unknown[0]] if unknown else node
        message = f"'{unknown[0]}' is no kind of step." if unknown else "This step does nothing."
        reader.problems.append(place.problem(message, near(unknown[0] if unknown else "", _KINDS)))


def _call(reader: Reader, node: Node, entries: Mapping[str, Node]) -> Work:
    timeout = reader.number(entries.get("approval_timeout_seconds"), DAY_SECONDS, 1, LONGEST_SECONDS)
    return Call(
        tool=reader.text(node, "", like="Name a tool as the hub lists it, like qsecure_scan_repository."),
        arguments=_arguments(reader, node, entries),
        approvers=reader.template(entries.get("approvers")),
        approval_timeout_seconds=timeout,
    )


def _do(reader: Reader, node: Node, entries: Mapping[str, Node]) -> Work:
    return Do(reader.text(node, "", like="Name an action."), _arguments(reader, node, entries))


def _child(reader: Reader, node: Node, entries: Mapping[str, Node]) -> Work:
    return Child(reader.text(node, "", like="Name a workflow."), _arguments(reader, node, entries))


def _parallel(reader: Reader, node: Node, _: Mapping[str, Node]) -> Work:
    if not isinstance(node.value, dict) or not 0 < len(node.value) <= MOST_BRANCHES:
        hint = f"Write 1 to {MOST_BRANCHES} names, each with a list of steps."
        reader.problems.append(node.problem("'parallel' must be a mapping of branches.", hint))
        return _UNUSABLE
    return Parallel({name: _block(reader, branch) for name, branch in node.value.items()})


def _for_each(reader: Reader, node: Node, _: Mapping[str, Node]) -> Work:
    entries = reader.mapping(node, ("items", "as", "steps", "concurrency", "max", "output"), "'for_each'")
    items = reader.template(reader.required(entries, "items", node, "Write ${{ a list }}."), bare=True)
    return ForEach(
        items=items or Template(node, []),
        name=reader.text(entries.get("as"), "item", of=NAME, like="Give the item a name, like file."),
        steps=_block(reader, reader.required(entries, "steps", node, "List what is done with an item.")),
        concurrency=int(reader.number(entries.get("concurrency"), 1, 1, MOST_BRANCHES, whole=True)),
        most=int(reader.number(entries.get("max"), 100, 1, MOST_ROUNDS, whole=True)),
        output=reader.template(entries.get("output")),
    )


def _loop(reader: Reader, node: Node, _: Mapping[str, Node]) -> Work:
    entries = reader.mapping(node, ("while", "until", "max", "on_max", "steps", "output"), "'loop'")
    given = [test for test in ("while", "until") if test in entries]
    if len(given) != 1:
        reader.problems.append(node.problem("A loop has either 'while' or 'until'.", "Keep one of them."))
    test = given[0] if given else "while"
    condition = reader.template(entries.get(test), bare=True)
    most = reader.required(entries, "max", node, "Say how many rounds are the most.")
    return Loop(
        condition=condition or Template(node, value=False),
        test="until" if test == "until" else "while",
        most=int(reader.number(most, 1, 1, MOST_ROUNDS, whole=True)),
        steps=_block(reader, reader.required(entries, "steps", node, "List what a round does.")),
        at_most=reader.choice(entries.get("on_max"), "fail", ("fail", "continue")),
        output=reader.template(entries.get("output")),
    )


def _approval(reader: Reader, node: Node, _: Mapping[str, Node]) -> Work:
    known = ("question", "approvers", "timeout_seconds", "on_refusal", "on_timeout", "details")
    entries = reader.mapping(node, known, "'approval'")
    question = reader.template(reader.required(entries, "question", node, "Say what is decided."))
    return Approval(
        question=question or Template(node, ""),
        approvers=reader.template(entries.get("approvers")),
        timeout_seconds=_seconds(reader, entries.get("timeout_seconds")),
        on_refusal=reader.choice(entries.get("on_refusal"), "fail", ("fail", "continue")),
        on_timeout=reader.choice(entries.get("on_timeout"), "fail", ("fail", "continue")),
        details=reader.template(entries.get("details")),
    )


def _sleep(reader: Reader, node: Node, _: Mapping[str, Node]) -> Work:
    return Sleep(_seconds(reader, node) or Template(node, 0))


def _seconds(reader: Reader, node: Node | None) -> Template | None:
    """Read a time that may be an expression."""
    seconds = reader.template(node, bare=True)
    if node is not None and (seconds is None or not isinstance(node.value, str)):
        reader.number(node, 0, 0, LONGEST_SECONDS)
    return seconds


def _set(reader: Reader, node: Node, _: Mapping[str, Node]) -> Work:
    if not isinstance(node.value, dict) or not node.value:
        reader.problems.append(node.problem("'set' must be a mapping of names.", "Write set: {cursor: null}."))
        return _UNUSABLE
    values: dict[str, Template] = {}
    for name, value in node.value.items():
        if not NAME.fullmatch(name):
            hint = "Use small letters, digits and _, beginning with a letter."
            reader.problems.append(node.keys[name].problem(f"'{name}' is no name.", hint))
        elif (template := reader.template(value)) is not None:
            values[name] = template
    return Set(values)


_READERS: dict[Kind, Callable[[Reader, Node, Mapping[str, Node]], Work]] = {
    "call": _call,
    "do": _do,
    "workflow": _child,
    "parallel": _parallel,
    "for_each": _for_each,
    "loop": _loop,
    "approval": _approval,
    "sleep": _sleep,
    "set": _set,
}


def _arguments(reader: Reader, node: Node, entries: Mapping[str, Node]) -> Template:
    given = entries.get("with")
    if given is not None and not isinstance(given.value, dict):
        reader.problems.append(given.problem("'with' must be a mapping of arguments.", "Write with: {path: src}."))
        given = None
    return reader.template(given) or Template(replace(node, value={}, keys={}), {})


def _retry(reader: Reader, node: Node | None) -> Retry:
    if node is None:
        return ONCE
    known = ("attempts", "first_delay_seconds", "backoff", "longest_delay_seconds")
    entries = reader.mapping(node, known, "'retry'")
    usual = Retry()
    return Retry(
        attempts=int(reader.number(entries.get("attempts"), usual.attempts, 1, MOST_ATTEMPTS, whole=True)),
        first_delay_seconds=reader.number(entries.get("first_delay_seconds"), usual.first_delay_seconds, 0, 3600),
        backoff=reader.number(entries.get("backoff"), usual.backoff, 1, 10),
        longest_delay_seconds=reader.number(
            entries.get("longest_delay_seconds"), usual.longest_delay_seconds, 0, DAY_SECONDS
        ),
    )


def _undo(reader: Reader, node: Node | None) -> Undo | None:
    if node is None:
        return None
    entries = reader.mapping(node, ("call", "do", "with"), "'undo'")
    given = [kind for kind in ("call", "do") if kind in entries]
    if len(given) != 1:
        reader.problems.append(node.problem("'undo' has either 'call' or 'do'.", "Write undo: {call: <tool>}."))
        return None
    target = entries[given[0]]
    arguments = _arguments(reader, node, entries)
    return Undo("do" if given[0] == "do" else "call", reader.text(target, ""), arguments, target)


def _unique(steps: tuple[Step, ...], reader: Reader, seen: dict[str, Node]) -> None:
    for step in steps:
        if step.named and step.id in seen:
            first = seen[step.id]
            place = step.node.problem(
                f"The id '{step.id}' is taken by {first.path} (line {first.line}).", "Choose another."
            )
            reader.problems.append(place)
        elif step.named:
            seen[step.id] = step.node
        _unique(tuple(step.inner()), reader, seen)


def _named(steps: tuple[Step, ...], taken: Mapping[str, Node], count: list[int]) -> tuple[Step, ...]:
    """Give steps without an id one that says what they are and where they stand."""
    named: list[Step] = []
    for step in steps:
        name = step.id
        while not name or (not step.named and name in taken):
            count[0] += 1
            name = f"{step.kind}_{count[0]}"
        work = step.work
        if isinstance(work, Parallel):
            work = Parallel({branch: _named(inner, taken, count) for branch, inner in work.branches.items()})
        elif isinstance(work, ForEach | Loop):
            work = replace(work, steps=_named(work.steps, taken, count))
        named.append(replace(step, id=name, work=work))
    return tuple(named)
