"""Plans as pages and graphs: what is lost comes first, and no name breaks out of its place."""

from quantum_suite.resources.qinfra.plan_graph import MOST_NODES, plan_graph
from quantum_suite.resources.qinfra.plan_markdown import MOST_STEPS, plan_markdown, summary_line
from quantum_suite.services.infrastructure.plan import (
    Drift,
    Plan,
    PlannedStep,
    PolicyVerdict,
    Problem,
    PropertyChange,
    ReplacementReason,
)


def plan(*steps: PlannedStep, **more: object) -> Plan:
    fields = {"kind": "update", "engine": "e", "project": "p", "stack": "s", "state_serial": 1, **more}
    return Plan(steps=steps, **fields)  # type: ignore[arg-type]  # fields of a plan


DATABASE = PlannedStep(
    urn="urn::database",
    type="aws:rds:Instance",
    name="database",
    operation="replace",
    id="db-1",
    replace_order="delete_before_create",
    replacement_reasons=(ReplacementReason(key="engine", why="it cannot be changed"),),
    changes=(
        PropertyChange(path="engine", kind="update", old="a", new="b", forces_replacement=True),
        PropertyChange(path="password", kind="update", old="[secret]", new="[secret]"),
        PropertyChange(path="old", kind="delete", old=1),
    ),
    protected=True,
    blast_radius=("urn::shop",),
)
SHOP = PlannedStep(
    urn="urn::shop",
    type="t",
    name='shop`"]; <b>',
    operation="create",
    inputs={"size": 1},
    dependencies=("urn::database",),
)
GONE = PlannedStep(urn="urn::gone", type="t", name="gone", operation="delete", retained=True)


def test_a_page_tells_what_forbids_it_what_is_lost_and_why() -> None:
    page = plan_markdown(
        plan(
            SHOP,
            DATABASE,
            GONE,
            problems=(Problem(code="protected", message="no *really*"),),
            verdicts=(
                PolicyVerdict(pack="p", rule="soft", level="advisory", message="hm"),
                PolicyVerdict(pack="p", rule="hard", level="mandatory", message="never", urn="urn::shop"),
            ),
            drift=(Drift(urn="urn::x", type="t", name="x", kind="missing"),),
            outputs={"url": "[unknown]"},
            config={"p:word": "[secret]"},
            digest="d" * 64,
        )
    )
    order = [
        "cannot be applied",
        "## Policies",
        "mandatory",
        "advisory",
        "delete: `gone`",
        "replace: `database`",
        "create:",
    ]
    assert [page.index(text) for text in order] == sorted(page.index(text) for text in order)
    assert "**2 existing resources are deleted or replaced.**" in page
    assert "Replaced because of `engine`: it cannot be changed." in page
    assert '- ~ `engine`: `"a"` → `"b"` **forces replacement**' in page
    assert '- ~ `password`: `"[secret]"` → `"[secret]"`' in page
    assert "- - `old`: `1` → gone" in page
    assert "- + `size`: `1`" in page
    assert "Depends on it: `shop`." in page
    assert "It leaves the stack and stays in the world." in page
    assert "no \\*really\\*" in page
    assert '``shop`"]; <b>``' in page
    assert "`x` (`t`): it is gone" in page
    assert summary_line(plan()) == "Nothing to change"


def test_a_long_plan_has_an_end() -> None:
    steps = [
        PlannedStep(urn=f"urn::{n}", type="t", name=f"n{n}", operation="create") for n in range(MOST_STEPS + 5)
    ]
    assert "5 more changes are in the JSON." in plan_markdown(plan(*steps))
    graph = plan_graph(plan(*steps))
    assert f"%% {MOST_STEPS + 5 - MOST_NODES} more are not shown" in graph


def test_a_graph_has_what_changes_and_what_depends_on_it() -> None:
    quiet = PlannedStep(urn="urn::quiet", type="t", name="quiet", operation="same")
    near = PlannedStep(urn="urn::near", type="t", name="near", operation="same")
    changed = DATABASE.model_copy(update={"blast_radius": ("urn::near",)})
    graph = plan_graph(plan(changed, SHOP, quiet, near))
    assert "quiet" not in graph
    assert "near" in graph
    assert "  r0 --> r1\n" in graph
    assert 'r1["shop#96;#34;#93;#59; #60;b#62;<br/>t<br/>create"]:::create' in graph
    assert "classDef replace" in graph
