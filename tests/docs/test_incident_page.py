"""The files shown on the page about incidents can be read."""

import re

from docs.pages import ROOT

from quantum_suite.services.root_cause.system_file import read_system
from quantum_suite.services.runbooks.reading import SHIPPED, read_runbook

PAGE = (ROOT / "docs/incidents.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_runbook_shown_is_one() -> None:
    (text,) = [block for block in BLOCKS if block.startswith("runbook:")]
    assert [step.id for step in read_runbook(text, {"release": "40"}).steps] == ["look", "back"]


def test_the_system_file_shown_is_one() -> None:
    (text,) = [block for block in BLOCKS if block.startswith("signals:")]
    files = {"spans.json": "[]", "shop.yaml": "kind: Service", "deployments.csv": "at,what,service\n"}
    system = read_system(text, files.__getitem__)
    assert [one.kind for one in system.signals] == ["latency", "errors", "traffic"]
    assert ("front", "cart") in system.topology.edges


def test_every_runbook_that_is_shipped_is_documented() -> None:
    assert all(f"| `{name}` |" in PAGE for name in SHIPPED)
