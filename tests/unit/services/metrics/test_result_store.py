"""Data of answers is kept whole, in pages, for its owner."""

import csv
import io
import json
import math
from pathlib import Path

import pytest

from quantum_suite.core.errors import NotFound
from quantum_suite.core.principals import LOCAL, Principal, Role
from quantum_suite.services.metrics import result_store
from quantum_suite.services.metrics.interface import Series
from quantum_suite.services.metrics.result_store import PAGE_POINTS, ResultRecord, ResultStore

pytestmark = pytest.mark.anyio

ANN = Principal("key:ann", frozenset({Role.VIEWER}))
BOB = Principal("key:bob", frozenset({Role.VIEWER}))


def line(points: int, **labels: str) -> Series:
    return Series(labels, [float(at) for at in range(points)], [float(2 * at) for at in range(points)])


async def saved(store: ResultStore, *series: Series, owner: Principal = ANN) -> ResultRecord:
    return await store.save(owner, "live", "up", (0.0, 10.0, 1.0), series)


@pytest.mark.parametrize("sizes", [[], [1], [PAGE_POINTS], [PAGE_POINTS + 1], [10, 2 * PAGE_POINTS, 3], [1] * 9])
async def test_pages_hold_every_point_once_and_in_order(tmp_path: Path, sizes: list[int]) -> None:
    store = ResultStore(tmp_path)
    given = [line(size, number=str(number)) for number, size in enumerate(sizes)]
    record = await saved(store, *given)
    assert record.points == sum(sizes)
    found: dict[str, list[list[float]]] = {}
    rows = 0
    for page in range(1, record.pages + 1):
        told = json.loads(await store.page(record.id, "json", str(page), ANN))
        assert (told["page"], told["pages"], told["query"]) == (page, record.pages, "up")
        for series in told["series"]:
            found.setdefault(series["labels"]["number"], []).extend(series["points"])
        rows += len(
            list(csv.DictReader(io.StringIO((await store.page(record.id, "csv", str(page), ANN)).decode())))
        )
    assert rows == record.points
    assert [[[at, value] for at, value in zip(one.times, one.values, strict=True)] for one in given] == list(
        found.values()
    )


async def test_what_json_has_no_number_for_is_a_word(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    record = await saved(store, Series({}, [1, 2, 3, 4], [math.nan, math.inf, -math.inf, 1.5]))
    told = json.loads(await store.page(record.id, "json", "1", ANN))
    assert [value for _, value in told["series"][0]["points"]] == ["NaN", "+Inf", "-Inf", 1.5]
    rows = list(csv.DictReader(io.StringIO((await store.page(record.id, "csv", "1", ANN)).decode())))
    assert [row["value"] for row in rows] == ["nan", "inf", "-inf", "1.5"]
    assert rows[0]["time"] == "1970-01-01T00:00:01Z"


async def test_a_label_is_no_formula_and_no_secret(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    token = "ghp_" + "a" * 36
    record = await saved(store, line(1, a='=HYPERLINK("x")', b='quo"te,\nline', c=f"x {token}"))
    (row,) = csv.DictReader(io.StringIO((await store.page(record.id, "csv", "1", ANN)).decode()))
    assert (row["a"], row["b"], row["c"]) == ('\'=HYPERLINK("x")', 'quo"te,\nline', "x ***")
    assert token not in (await store.page(record.id, "json", "1", ANN)).decode()


async def test_results_are_their_owners_and_administrators_alone(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    record = await saved(store, line(1))
    assert (await store.get(record.id, ANN)).query == "up"
    assert (await store.get(record.id, LOCAL)).query == "up"
    with pytest.raises(NotFound):
        await store.get(record.id, BOB)
    with pytest.raises(NotFound):
        await store.page(record.id, "json", "1", BOB)
    assert [one.id for one in await store.latest(ANN)] == [record.id]
    assert await store.latest(BOB) == []
    assert (tmp_path / record.id).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("page", ["0", "2", "-1", "1.0", "x", "", "٣", "9" * 50, "../record"])
async def test_a_page_that_is_not_there_is_told(tmp_path: Path, page: str) -> None:
    store = ResultStore(tmp_path)
    record = await saved(store, line(1))
    with pytest.raises(NotFound, match="has no page"):
        await store.page(record.id, "json", page, ANN)


@pytest.mark.parametrize("name", ["", "latest", "../../etc", "query_" + "0" * 26, "query_" + "A" * 26])
async def test_a_result_that_is_not_there_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFound):
        await ResultStore(tmp_path).get(name, ANN)


async def test_the_oldest_of_an_owner_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_store, "KEEP_RESULTS", 2)
    store = ResultStore(tmp_path)
    other = await saved(store, line(1), owner=BOB)
    for _ in range(4):
        await saved(store, line(1))
    left = await store.latest(LOCAL)
    assert sorted(one.owner for one in left) == ["key:ann", "key:ann", "key:bob"]
    assert other.id in [one.id for one in left]


async def test_a_damaged_record_is_passed_over(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    record = await saved(store, line(1))
    (tmp_path / record.id / "record.json").write_text('{"id": "x"')
    assert await store.latest(LOCAL) == []
    with pytest.raises(NotFound):
        await store.get(record.id, ANN)
