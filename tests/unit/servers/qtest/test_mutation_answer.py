"""What `mutate` says in words."""

import pytest
from mcp.types import TextContent

from quantum_suite.core.verdicts import Isolation
from quantum_suite.servers.qtest.answers import mutation_answer
from quantum_suite.tools.qtest.mutate_code import MutationAnswer

ANSWER = MutationAnswer(
    run="run_1",
    score=1.0,
    interval=None,
    verdicts={"killed": 3},
    generated=5,
    survivors=(),
    more_survivors=0,
    disagreements=(),
    stopped_early=None,
    isolation=Isolation.BUBBLEWRAP,
    seconds=1.0,
    report="quantum://qtest/runs/run_1/mutation",
)


@pytest.mark.parametrize(("verdicts", "told"), [({"killed": 3}, False), ({"import_time": 2, "killed": 3}, True)])
def test_who_is_not_counted_is_not_taken_for_noticed(verdicts: dict[str, int], told: bool) -> None:
    result = mutation_answer(ANSWER.model_copy(update={"verdicts": verdicts}))
    text = next(block.text for block in result.content if isinstance(block, TextContent))
    assert text.startswith("100.0% of counted mutants noticed. ")
    assert ("not counted, noticed or not" in text) is told
