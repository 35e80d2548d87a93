"""What the tools on SLOs tell of a day with known failures, measured by a real Prometheus."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from reference.prometheus import Prometheus
from reference.slo_past import draft_of, slo_past

from quantum_suite.core.errors import CallerError, NotFound
from quantum_suite.core.principals import LOCAL
from quantum_suite.servers.qsre.slo_answers import budget_answer, explanation_answer, status_answer
from quantum_suite.services.capacity.memory import MemoryCapacity
from quantum_suite.services.metrics.opening import open_metrics
from quantum_suite.services.metrics.sources import MetricSources
from quantum_suite.services.slo.files import SloFiles
from quantum_suite.services.slo.writing import write_openslo
from quantum_suite.services.workspaces import Workspaces
from quantum_suite.tools.qsre.define_slo import SloDefiner, SloOrder
from quantum_suite.tools.qsre.error_budget import BudgetReader
from quantum_suite.tools.qsre.explain_alert import AlertExplainer
from quantum_suite.tools.qsre.slo_status import MOST_SLOS, SloReader

pytestmark = pytest.mark.anyio

CONDITION = """\
  alertPolicies:
    - kind: AlertPolicy
      metadata: {name: p}
      spec:
        alertWhenBreaching: true
        conditions:
          - kind: AlertCondition
            metadata: {name: fast}
            spec: {severity: sev1, condition: {kind: burnrate, op: gte, threshold: 2, lookbackWindow: 1h}}
"""


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with slo_past(tmp_path_factory.mktemp("slo-tools")) as server:
        yield server


@pytest.fixture
async def sources(prometheus: Prometheus) -> AsyncIterator[MetricSources]:
    async with open_metrics(prometheus.url, None, environ={}) as opened:
        yield opened


@pytest.fixture
def files(tmp_path: Path) -> SloFiles:
    (tmp_path / "slos").mkdir()
    for job in ("steady", "late", "quiet", "absent"):
        (tmp_path / f"slos/{job}.yaml").write_text(write_openslo(draft_of(job)))
    return SloFiles(Workspaces((tmp_path,)))


async def test_the_worst_slo_comes_first_and_each_tells_its_windows(
    files: SloFiles, sources: MetricSources
) -> None:
    status = await SloReader(files, sources).status(None, None, LOCAL)
    assert [(row.slo, row.state) for row in status.slos] == [
        ("late-ok", "burning"),
        ("quiet-ok", "burning"),
        ("absent-ok", "no data"),
        ("steady-ok", "ok"),
    ]
    rows = {row.slo: row for row in status.slos}
    assert rows["late-ok"].alerts[0].startswith("ticket: 3x over")
    assert rows["steady-ok"].budget_left_percent == pytest.approx(50, abs=2)
    assert rows["quiet-ok"].low_traffic
    told = status_answer(status).content[0]
    assert "low traffic: one failure is" in getattr(told, "text", "")
    assert "absent-ok: no data: no data of 98 % over 1d" in getattr(told, "text", "")


async def test_too_many_slos_at_once_are_refused(files: SloFiles, sources: MetricSources, tmp_path: Path) -> None:
    many = "---\n".join(write_openslo(replace(draft_of("steady"), name=f"n{n}")) for n in range(MOST_SLOS + 1))
    (tmp_path / "slos/many.yaml").write_text(many)
    with pytest.raises(CallerError, match="50 at a time are the most"):
        await SloReader(files, sources).status(None, None, LOCAL)


async def test_a_budget_that_runs_out_is_forecast_with_an_interval_and_drawn(
    files: SloFiles, sources: MetricSources, tmp_path: Path
) -> None:
    reader = BudgetReader(files, sources, MemoryCapacity(1), tmp_path / "matplotlib")
    reply = await reader.read("late-ok", None, None, LOCAL)
    budget = reply.budget
    assert budget.left_percent == pytest.approx(37.5, abs=4)
    assert budget.burn_rate == pytest.approx(5, rel=0.05)
    assert budget.gone_at_this_rate is not None
    assert budget.gone_at_this_rate.startswith("1h")
    assert budget.forecast.outlook == "within the window"
    assert budget.forecast.earliest is not None
    assert budget.forecast.middle is not None
    assert budget.end < budget.forecast.earliest <= budget.forecast.middle
    assert reply.picture is not None
    assert "80 % interval" in getattr(budget_answer(reply).content[0], "text", "")
    steady = (await reader.read("steady-ok", None, None, LOCAL, plot=False)).budget
    assert steady.forecast.outlook == "not within the window"
    assert steady.forecast.probability == 0
    nothing = (await reader.read("absent-ok", None, None, LOCAL)).budget
    assert (nothing.forecast.outlook, nothing.burned_percent, nothing.plotted) == ("not enough data", None, False)
    assert "Nothing was measured in the period." in nothing.notes


async def test_an_alert_of_few_events_is_explained_as_such(files: SloFiles, sources: MetricSources) -> None:
    found = await AlertExplainer(files, sources).explain("QuietOkBudgetBurn", {}, None, None, LOCAL)
    assert found.slo == "quiet-ok"
    assert found.low_traffic
    assert "Traffic is low:" in found.explanation
    assert "Look at:" in getattr(explanation_answer(found).content[0], "text", "")
    absent = await AlertExplainer(files, sources).explain("AbsentOkBudgetBurn", {}, None, None, LOCAL)
    assert "Nothing is measured over" in absent.explanation


async def test_a_burning_slo_is_explained_with_what_is_left_and_where_to_look(
    files: SloFiles, sources: MetricSources
) -> None:
    labels = {"sloth_id": "late-ok", "sloth_severity": "ticket"}
    found = await AlertExplainer(files, sources).explain("LateOkBudgetBurn", labels, None, None, LOCAL)
    assert [pair.threshold for pair in found.pairs] == pytest.approx([3, 1])
    assert all(pair.holds for pair in found.pairs)
    assert "the budget burns more than 3 times as fast as it may (ticket)" in found.explanation
    assert "% of the budget is left." in found.explanation
    assert "At this rate it is gone in 1h" in found.explanation
    assert found.look_at[-1] == 'error_budget(slo="late-ok")'
    assert any('code="500"' in query for query in found.look_at)


async def test_alerts_of_conditions_and_of_two_slos_are_told_apart(
    files: SloFiles, sources: MetricSources, tmp_path: Path
) -> None:
    (tmp_path / "slos/late.yaml").write_text(write_openslo(draft_of("late")) + CONDITION)
    explainer = AlertExplainer(files, sources)
    found = await explainer.explain("LateOkFast", {}, None, None, LOCAL)
    assert (found.slo, len(found.pairs)) == ("late-ok", 4)
    for job in ("steady", "quiet"):
        text = write_openslo(replace(draft_of(job), alert_name="Burn"))
        (tmp_path / f"slos/{job}.yaml").write_text(text)
    with pytest.raises(CallerError, match="2 SLOs have an alert named 'Burn'"):
        await explainer.explain("Burn", {}, None, None, LOCAL)
    assert (await explainer.explain("Burn", {"sloth_service": "quiet"}, None, None, LOCAL)).slo == "quiet-ok"
    with pytest.raises(NotFound, match="There is no SLO named 'gone-ok'"):
        await explainer.explain("Burn", {"sloth_id": "gone-ok"}, None, None, LOCAL)


async def test_defining_says_when_few_events_or_ratios_past_one_make_it_useless(
    files: SloFiles, sources: MetricSources, tmp_path: Path
) -> None:
    definer = SloDefiner(files, sources)
    quiet = await definer.define(SloOrder(draft=draft_of("quiet")), LOCAL)
    assert any("minimum_events keeps alerts quiet" in note for note in quiet.notes)
    swapped = draft_of("late")
    upside = replace(swapped, bad_query=swapped.total_query, total_query=swapped.bad_query)
    odd = await definer.define(SloOrder(draft=upside), LOCAL)
    assert any("not between 0 and 1: look at the queries" in note for note in odd.notes)
    ratio = replace(
        draft_of("late", minimum_events=5),
        bad_query=None,
        total_query=None,
        error_ratio_query="a{w='{{.window}}'}",
    )
    counted = await definer.define(SloOrder(draft=ratio), LOCAL)
    assert any("so a minimum of events has no effect" in note for note in counted.notes)
    conditions = await definer.define(SloOrder(document=write_openslo(draft_of("late")) + CONDITION), LOCAL)
    assert conditions.slos[0].alerts == ("sev1: 2x over 1h (fast)",)
    month = write_openslo(draft_of("late")).replace(
        "isRolling: true", "calendar: {startTime: 2026-01-01 00:00:00}"
    )
    calendar = await definer.define(SloOrder(document=month), LOCAL)
    assert any("count from the begin of the calendar's period" in note for note in calendar.notes)


async def test_without_promtool_rules_are_made_and_said_to_be_unchecked(
    files: SloFiles, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    order = SloOrder(draft=draft_of("new"), dry_run=False)
    made = await SloDefiner(files, MetricSources()).define(order, LOCAL)
    assert made.written
    assert "apt-get install prometheus" in made.promtool
    assert made.rules == 15  # six windows, seven of metadata, page and ticket
