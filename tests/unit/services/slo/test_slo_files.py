"""SLO files in a workspace: found, read side by side, and written over nothing that was not seen."""

from pathlib import Path

import pytest

from quantum_suite.core.errors import CallerError, Conflict, NotFound
from quantum_suite.core.principals import LOCAL
from quantum_suite.services.slo.files import MAX_FILES, SloFiles, difference
from quantum_suite.services.slo.interface import InvalidSlo
from quantum_suite.services.slo.loading import load_slos
from quantum_suite.services.slo.writing import SloDraft, write_openslo
from quantum_suite.services.workspaces import Workspaces

BAD, TOTAL = "sum(rate(bad[{{.window}}]))", "sum(rate(total[{{.window}}]))"


def document(name: str, service: str = "shop") -> str:
    return write_openslo(SloDraft(service, name, 99, bad_query=BAD, total_query=TOTAL))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    directory = tmp_path / "home"
    (directory / "slos/deep").mkdir(parents=True)
    return directory


@pytest.fixture
def files(home: Path) -> SloFiles:
    return SloFiles(Workspaces((home,)))


def test_one_broken_file_costs_only_itself(home: Path, files: SloFiles) -> None:
    (home / "slos/a.yaml").write_text(document("a"))
    (home / "slos/deep/b.yml").write_text(document("b"))
    (home / "slos/broken.yaml").write_text(document("c").replace("99", "none"))
    (home / "slos/binary.yaml").write_bytes(b"\xff\xfe")
    (home / "slos/a.rules.yaml").write_text("groups: []")
    (home / "slos/double.yaml").write_text(document("a"))
    found = files.read(None, LOCAL)
    assert [slo.id for slo in found.slos] == ["shop-a", "shop-b"]
    assert [slo.file for slo in found.slos] == ["slos/a.yaml", "slos/deep/b.yml"]
    assert len(found.problems) == 3
    assert any(one.startswith("slos/broken.yaml:") and "targetPercent" in one for one in found.problems)
    assert any("binary.yaml is not UTF-8 text." in one for one in found.problems)
    assert any("slos/double.yaml:1: the SLO shop-a is in slos/a.yaml already" in one for one in found.problems)


def test_a_file_that_is_named_has_to_be_right(home: Path, files: SloFiles) -> None:
    (home / "x.yaml").write_text("groups: []")
    with pytest.raises(InvalidSlo, match=r"x\.yaml:1"):
        files.read("x.yaml", LOCAL)
    (home / "x.yaml").write_text(document("a"))
    assert files.read("x.yaml", LOCAL).get("a").id == "shop-a"


def test_an_slo_is_found_by_id_or_by_a_name_that_is_its_own(home: Path, files: SloFiles) -> None:
    (home / "slos/all.yaml").write_text(f"{document('a')}---\n{document('a', 'cart')}---\n{document('b')}")
    found = files.read("slos", LOCAL)
    assert found.get("cart-a").service == "cart"
    assert found.get("b").id == "shop-b"
    with pytest.raises(NotFound, match="2 services have an SLO named 'a'"):
        found.get("a")
    with pytest.raises(NotFound, match="There is: shop-a, cart-a, shop-b"):
        found.get("c")


def test_links_out_of_the_grant_are_not_followed(home: Path, files: SloFiles, tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_text(document("secret"))
    (home / "slos/link.yaml").symlink_to(tmp_path / "secret.yaml")
    found = files.read(None, LOCAL)
    assert found.slos == ()
    assert "outside the granted workspaces" in found.problems[0]
    (home / "slos/mine.rules.yaml").symlink_to(tmp_path / "secret.yaml")
    with pytest.raises(CallerError, match="is no plain file"):
        files.paths("slos/mine.yaml", LOCAL)


def test_too_many_files_are_refused(home: Path, files: SloFiles) -> None:
    for number in range(MAX_FILES + 1):
        (home / f"slos/{number}.yaml").touch()
    with pytest.raises(CallerError, match="more than 200 YAML files"):
        files.read(None, LOCAL)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("../out.yaml", "leads upwards"),
        ("slos/../../out.yaml", "leads upwards"),
        ("/etc/out.yaml", "outside the granted workspaces"),
        ("slos/a.json", "is no YAML file"),
        ("slos/a.rules.yaml", "is no YAML file"),
        ("slos/deep.yaml", "is a folder"),
        ("plain/a.yaml", "is no folder"),
        ("slos/\0.yaml", "NUL"),
    ],
)
def test_places_where_nothing_may_be_written_are_refused(
    home: Path, files: SloFiles, path: str, said: str
) -> None:
    (home / "plain").touch()
    (home / "slos/deep.yaml").mkdir()
    with pytest.raises(CallerError, match=said):
        files.paths(path, LOCAL)


def test_writing_replaces_only_what_was_seen(home: Path, files: SloFiles) -> None:
    paths = files.paths("new/folder/a.yaml", LOCAL)
    assert paths.digest() is None
    assert "+++ a.rules.yaml" in difference(paths, "one\n", "rules\n")
    files.write(paths, "one\n", "rules\n", None)
    assert (home / "new/folder/a.yaml").read_text() == "one\n"
    first = paths.digest()
    with pytest.raises(Conflict, match="which you have not seen"):
        files.write(paths, "two\n", "rules\n", None)
    paths.file.write_text("changed by somebody\n")
    with pytest.raises(Conflict, match="which is not what you have seen"):
        files.write(paths, "two\n", "rules\n", first)
    assert paths.file.read_text() == "changed by somebody\n"
    paths.file.chmod(0o600)
    files.write(paths, "two\n", "rules\n", paths.digest())
    assert paths.file.read_text() == "two\n"
    assert paths.file.stat().st_mode & 0o777 == 0o600
    assert difference(paths, "two\n", "rules\n") == ""
    paths.file.unlink()
    paths.rules.unlink()
    with pytest.raises(Conflict, match="is not there any more"):
        files.write(paths, "two\n", "rules\n", first)
    assert sorted(path.name for path in paths.file.parent.iterdir()) == []


def test_a_draft_is_written_as_a_file_that_reads_the_same() -> None:
    draft = SloDraft(
        "shop",
        "checkout latency!",
        99.5,
        bad_query=BAD,
        total_query=TOTAL,
        period="4w",
        description='Fast: "quick" #1',
        alert_name="Slow",
        minimum_events=30,
        labels={"team": "yes"},
    )
    (slo,) = load_slos(write_openslo(draft), "slo.yaml")
    assert (slo.id, slo.objective_percent, slo.description) == ("shop-checkout-latency", 99.5, 'Fast: "quick" #1')
    assert (slo.minimum_events, slo.labels, slo.period_seconds) == (30, {"team": "yes"}, 28 * 86400)
    assert slo.page is not None
    assert slo.page.name == "Slow"
    ratio = SloDraft("shop", "a", 99, error_ratio_query="a{w='{{.window}}'}")
    assert load_slos(write_openslo(ratio), "slo.yaml")[0].indicator.error_ratio == "a{w='{{.window}}'}"
    odd = SloDraft(
        "shop", "a", 99, error_ratio_query=ratio.error_ratio_query, description="a\u2028b\u0085c\t\U0001f600"
    )
    assert load_slos(write_openslo(odd), "slo.yaml")[0].description == odd.description
    with pytest.raises(CallerError, match="Half a character"):
        write_openslo(SloDraft("shop", "a", 99, error_ratio_query="\ud800"))


@pytest.mark.parametrize(
    "queries",
    [
        {"bad_query": BAD},
        {"total_query": TOTAL},
        {"bad_query": BAD, "good_query": BAD, "total_query": TOTAL},
        {"error_ratio_query": BAD, "total_query": TOTAL},
        {},
    ],
)
def test_a_draft_whose_queries_do_not_fit_is_refused(queries: dict[str, str]) -> None:
    with pytest.raises(CallerError):
        write_openslo(SloDraft("shop", "a", 99, **queries))  # type: ignore[arg-type]  # queries alone
