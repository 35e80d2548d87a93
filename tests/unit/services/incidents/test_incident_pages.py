"""The pages of an incident."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from quantum_suite.resources.qsre.incidents import incident_page, incident_uri, post_mortem_page, timeline_page
from quantum_suite.services.incidents.interface import Hypothesis, Incident, TimelineEntry

BEGAN = datetime(2026, 11, 27, 10, tzinfo=UTC)


def entry(minute: int, what: str, text: str) -> TimelineEntry:
    return TimelineEntry(BEGAN + timedelta(minutes=minute), what, text, "local")


INCIDENT = Incident(
    id="inc_1",
    title="Checkout <b>fails</b>\n# Not a heading",
    severity="critical",
    origin="alert",
    began_at=BEGAN,
    opened_at=BEGAN + timedelta(minutes=5),
    service="cart",
    signals={"a": "firing", "b": "resolved"},
    roles={"commander": "team-shop"},
    hypotheses=(Hypothesis("h1", "The release | of cart", "confirmed", 0.8, 2, 1),),
    timeline=(entry(5, "opened", "late"), entry(1, "signal_seen", "early [link](http://x)")),
    version=2,
)


def test_foreign_text_makes_no_markup_of_its_own() -> None:
    page = incident_page(INCIDENT)
    assert page.startswith("# Checkout &lt;b>fails&lt;/b> \\# Not a heading\n")
    assert "| h1 | The release ¦ of cart | confirmed | 0.80 | 2 | 1 |" in page
    assert "early \\[link](http://x)" in page


def test_the_timeline_is_in_the_order_in_which_things_happened() -> None:
    lines = [line for line in timeline_page(INCIDENT).splitlines() if line.startswith("- ")]
    assert ["early" in lines[0], "late" in lines[1]] == [True, True]


def test_a_post_mortem_says_what_is_open_and_what_is_missing() -> None:
    page = post_mortem_page(INCIDENT)
    assert "The incident is open" in page
    assert "Noticed after 5m" in page
    assert "## Cause\n\nThe release | of cart\n" in page
    ended = replace(
        INCIDENT, resolved_at=BEGAN + timedelta(hours=2), summary="Over.", cause="Release 41", hypotheses=()
    )
    page = post_mortem_page(ended)
    assert "after 2h" in page
    assert "## Cause\n\nRelease 41\n" in page
    assert "_Nothing was written down._" in page
    assert "_Not known._" in post_mortem_page(replace(ended, cause=""))


def test_uris_follow_the_suites_grammar() -> None:
    assert incident_uri("inc_1", "post-mortem") == "quantum://qsre/incidents/inc_1/post-mortem"
