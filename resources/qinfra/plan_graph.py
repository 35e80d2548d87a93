"""A plan as a Mermaid graph: what is changed, and what depends on it."""

from collections.abc import Sequence
from typing import Final

from quantum_suite.services.infrastructure.plan import Plan, PlannedStep

MOST_NODES: Final = 150
"""More are no picture any more."""

_CLASSES: Final = {
    "create": "fill:#d8f5d8,stroke:#2a7f2a,color:#111",
    "update": "fill:#fdf3cf,stroke:#a07800,color:#111",
    "replace": "fill:#fde0c5,stroke:#b04a00,color:#111",
    "delete": "fill:#f8d4d4,stroke:#a02020,color:#111",
    "import": "fill:#d6e8fb,stroke:#205090,color:#111",
    "refresh": "fill:#e6dcf5,stroke:#5a3a90,color:#111",
    "same": "fill:#f2f2f2,stroke:#999,color:#111",
    "read": "fill:#f2f2f2,stroke:#999,color:#111,stroke-dasharray:4",
}


def plan_graph(plan: Plan) -> str:
    """Return the graph: an arrow leads from what is needed to what needs it.

    Resources that stay as they are appear only where they depend on one that changes, or it on them. Of a plan
    with more than `MOST_NODES` resources to show the first are shown, and a comment says how many are not.
    """
    steps = _shown(plan)
    kept = steps[:MOST_NODES]
    names = {step.urn: f"r{number}" for number, step in enumerate(kept)}
    lines = ["graph LR"]
    for step in kept:
        label = f"{_safe(step.name)}<br/>{_safe(step.type)}<br/>{step.operation}"
        lines.append(f'  {names[step.urn]}["{label}"]:::{step.operation}')
    for step in kept:
        for needed in step.dependencies:
            if needed in names:
                lines.append(f"  {names[needed]} --> {names[step.urn]}")
    used = {step.operation for step in kept}
    lines += [f"  classDef {name} {style}" for name, style in _CLASSES.items() if name in used]
    if len(steps) > len(kept):
        lines.append(f"  %% {len(steps) - len(kept)} more are not shown")
    return "\n".join(lines) + "\n"


def _shown(plan: Plan) -> Sequence[PlannedStep]:
    changing = {step.urn for step in plan.changes}
    near = {urn for step in plan.changes for urn in (*step.dependencies, *step.blast_radius)}
    steps: dict[str, PlannedStep] = {}
    for step in plan.steps:
        if step.custom and (step.urn in changing or step.urn in near) and step.urn not in steps:
            steps[step.urn] = step
    return list(steps.values())


def _safe(text: str) -> str:
    """Return a text that means nothing to Mermaid."""
    return "".join(char if char.isalnum() or char in " -_.:/" else f"#{ord(char)};" for char in text)[:120]
