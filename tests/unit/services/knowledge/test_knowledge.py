"""The knowledge service on real folders, with real parsers."""

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from quantum_suite.core.errors import CallerError, Damaged, NotFound
from quantum_suite.services.knowledge import workspace
from quantum_suite.services.knowledge.embed_chunks import collection_name
from quantum_suite.services.knowledge.files.stamps import Seen, differing, stamp_of
from quantum_suite.services.knowledge.index import reading
from quantum_suite.services.knowledge.index.parsers import Parsers
from quantum_suite.services.knowledge.interface import IndexStatus, SearchRequest
from quantum_suite.services.knowledge.opening import open_knowledge
from quantum_suite.services.knowledge.service import LocalKnowledge

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def opened(
    home: Path, *, embedding: str = "none", vectors: str = "memory:", parsers: Parsers | None = None
) -> AsyncIterator[LocalKnowledge]:
    async with open_knowledge(
        home / "knowledge",
        embedding=embedding,
        vectors=vectors,
        environ={},
        parsers=parsers if parsers is not None else Parsers(1),
    ) as knowledge:
        yield knowledge


def write(root: Path, **files: str) -> Path:
    """Write files; `a__b_py` is a/b.py."""
    for name, text in files.items():
        folder, _, rest = name.rpartition("__")
        stem, _, suffix = rest.rpartition("_")
        path = root / folder / f"{stem}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def git(root: Path, *arguments: str) -> None:
    own = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    named = ["-c", "user.name=one", "-c", "user.email=one@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(
        ["git", *named, *arguments], cwd=root, check=True, capture_output=True, env={**os.environ, **own}
    )


def repository(root: Path, **files: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    git(root, "init")
    write(root, **files)
    git(root, "add", ".")
    git(root, "commit", "-m", "first")
    return root


async def names(knowledge: LocalKnowledge, root: Path, query: str, kinds: str = "code") -> list[str]:
    request = SearchRequest(root, query, kinds="documents" if kinds == "documents" else "code")
    return [hit.chunk.qualified_name for hit in (await knowledge.search(request)).hits]


def left_out(status: IndexStatus) -> dict[str, str]:
    return {item.path: item.reason for item in status.not_indexed}


async def test_what_was_not_indexed_is_absent(tmp_path: Path) -> None:
    root = write(tmp_path / "work", a_py="def one(): pass\n")
    async with opened(tmp_path) as knowledge:
        assert (await knowledge.status(root)).state == "absent"
        for asked in (knowledge.search(SearchRequest(root, "one")), knowledge.find_symbol(root, "one")):
            with pytest.raises(NotFound):
                await asked
        assert not (tmp_path / "knowledge").exists()


async def test_an_empty_folder_and_an_empty_repository_are_ready_with_nothing(tmp_path: Path) -> None:
    plain, fresh = tmp_path / "plain", tmp_path / "fresh"
    plain.mkdir()
    fresh.mkdir()
    git(fresh, "init")
    async with opened(tmp_path) as knowledge:
        for root in (plain, fresh):
            status = await knowledge.index(root)
            assert (status.state, status.files, status.chunks, status.commit) == ("ready", 0, 0, None)
            assert await names(knowledge, root, "anything") == []
            assert (await knowledge.repository_map(root, 500)).text == ""


async def test_an_unchanged_workspace_is_not_read_again(tmp_path: Path) -> None:
    root = repository(tmp_path / "work", a_py="def one(): pass\n", b_py="def two(): pass\n")
    told: list[str] = []

    async def progress(done: int, total: int, message: str) -> None:
        told.append(message)

    async with opened(tmp_path) as knowledge:
        await knowledge.index(root)
        os.utime(root / "a.py", ns=(1, 1))
        status = await knowledge.index(root, progress)
        assert status.files_indexed == 2
        assert (await knowledge.status(root)).stale_files == 0
        before = {hit.chunk.id for hit in (await knowledge.search(SearchRequest(root, "one"))).hits}
    async with opened(tmp_path) as knowledge:
        await knowledge.index(root, progress)
        assert "0 files to read, 2 are as they were" in told[-2:] or any("0 files to read" in one for one in told)
        assert {hit.chunk.id for hit in (await knowledge.search(SearchRequest(root, "one"))).hits} == before


async def test_edits_deletions_and_renames_are_noticed_before_a_search(tmp_path: Path) -> None:
    root = repository(
        tmp_path / "work", a_py="def one(): pass\n", b_py="def two(): pass\n", c_py="def six(): pass\n"
    )
    async with opened(tmp_path) as knowledge:
        await knowledge.index(root)
        write(root, a_py="def three(): pass\n")
        (root / "b.py").unlink()
        (root / "c.py").rename(root / "d.py")
        write(root, new__e_py="def four(): pass\n")
        status = await knowledge.status(root)
        assert status.stale_files == 5
        found = {
            name
            for query in ("one", "two", "three", "four", "six")
            for name in await names(knowledge, root, query)
        }
        assert found == {"three", "four", "six"}
        (symbol,) = await knowledge.find_symbol(root, "six")
        assert symbol.path == "d.py"
        assert (await knowledge.status(root)).stale_files == 0


async def test_each_of_many_edits_is_found_by_the_next_search_or_told_of_while_others_search(
    tmp_path: Path,
) -> None:
    root = repository(tmp_path / "work", a_py="def one(): pass\n", b__c_py="def two(): pass\n")
    async with opened(tmp_path) as knowledge, anyio.create_task_group() as tasks:
        await knowledge.index(root)

        async def search_on() -> None:
            while True:
                await names(knowledge, root, "two")

        for _ in range(3):
            tasks.start_soon(search_on)
        for number in range(25):
            target = root / ("a.py" if number % 2 else f"b/new_{number}/d.py")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(f"def edit_{number}(): pass\n")
            answer = await knowledge.search(SearchRequest(root, f"edit_{number}"))
            found = [hit.chunk.qualified_name for hit in answer.hits]
            assert f"edit_{number}" in found or any("not looked at" in caveat for caveat in answer.caveats)
        tasks.cancel_scope.cancel()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="inotify is Linux's")
async def test_where_nothing_was_done_no_file_is_asked_for_its_stamp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = repository(tmp_path / "work", a_py="def one(): pass\n")
    asked: list[str] = []

    def counted(root: Path, known: Mapping[str, Seen], paths: Iterable[str]) -> list[str]:
        listed = list(paths)
        asked.extend(listed)
        return differing(root, known, listed)

    monkeypatch.setattr(workspace, "differing", counted)
    for seconds in ("_BELIEVED_SECONDS", "_CHEAP_SECONDS"):
        monkeypatch.setattr(workspace, seconds, 1e9)
    await anyio.sleep(0.2)  # stamps that are younger prove nothing yet
    async with opened(tmp_path) as knowledge:
        await knowledge.index(root)
        await names(knowledge, root, "one")
        assert asked[-1:] == ["a.py"]
        asked.clear()
        await names(knowledge, root, "one")
        assert asked == []
        (root / "other.txt").write_text("anything")
        await names(knowledge, root, "one")
        assert asked != []


async def test_what_no_alarm_rings_for_is_found_a_little_later(tmp_path: Path) -> None:
    root = write(tmp_path / "work", a_py="def one(): pass\n")
    outside = tmp_path / "outside.py"
    os.link(root / "a.py", outside)
    async with opened(tmp_path) as knowledge:
        await knowledge.index(root)
        await names(knowledge, root, "one")
        outside.write_text("def through_another_name(): pass\n")
        with anyio.fail_after(60):
            while await names(knowledge, root, "through_another_name") != ["through_another_name"]:
                await anyio.sleep(0.05)


async def test_an_edit_that_keeps_size_and_time_is_noticed(tmp_path: Path) -> None:
    root = write(tmp_path / "work", a_py="def one(): pass\n")
    async with opened(tmp_path) as knowledge:
        await knowledge.index(root)
        facts = (root / "a.py").stat()
        (root / "a.py").write_text("def two(): pass\n")
        os.utime(root / "a.py", ns=(facts.st_atime_ns, facts.st_mtime_ns))
        assert await names(knowledge, root, "two") == ["two"]


async def test_many_edits_are_told_and_left_to_the_next_indexing(tmp_path: Path) -> None:
    root = tmp_path / "work"
    root.mkdir()
    for number in range(70):
        (root / f"m{number}.py").write_text(f"def f{number}(): pass\n")
    async with opened(tmp_path) as knowledge:
        await knowledge.index(root)
        for number in range(70):
            (root / f"m{number}.py").write_text(f"def g{number}(): pass\n")
        answer = await knowledge.search(SearchRequest(root, "f1"))
        assert any("70 files changed" in caveat for caveat in answer.caveats)
        assert answer.status.stale_files == 70
        await knowledge.index(root)
        assert (await names(knowledge, root, "g1"))[0] == "g1"


async def test_what_git_ignores_is_not_indexed_until_it_is_not_ignored(tmp_path: Path) -> None:
    root = repository(tmp_path / "work", a_py="def one(): pass\n")
    (root / ".gitignore").write_text("built/\n*.log.txt\n")
    write(root, built__b_py="def made(): pass\n", fresh_py="def untracked(): pass\n")
    async with opened(tmp_path) as knowledge:
        status = await knowledge.index(root)
        assert status.files_indexed == 2
        assert left_out(status)["built/"] == "ignored by Git"
        assert status.commit is not None
        (root / ".gitignore").write_text("")
        assert await names(knowledge, root, "made") == ["made"]


async def test_another_branch_is_another_content(tmp_path: Path) -> None:
    root = repository(tmp_path / "work", a_py="def main_one(): pass\n", b_py="def kept(): pass\n")
    git(root, "checkout", "-b", "other")
    write(root, a_py="def other_one(): pass\n", c_py="def added(): pass\n")
    git(root, "add", ".")
    git(root, "commit", "-m", "second")
    async with opened(tmp_path) as knowledge:
        first = await knowledge.index(root)
        git(root, "checkout", "main")
        second = await knowledge.index(root)
        assert first.commit != second.commit
        assert {
            one
            for query in ("main_one", "other_one", "added", "kept")
            for one in await names(knowledge, root, query)
        } == {
            "main_one",
            "kept",
        }


async def test_a_folder_of_a_repository_and_a_repository_in_it_are_indexed(tmp_path: Path) -> None:
    root = repository(tmp_path / "work", part__a_py="def inside(): pass\n", b_py="def outside(): pass\n")
    nested = repository(root / "part" / "nested", c_py="def nested_one(): pass\n")
    assert (nested / ".git").exists()
    async with opened(tmp_path) as knowledge:
        status = await knowledge.index(root / "part")
        assert status.files_indexed == 2
        assert await names(knowledge, root / "part", "outside") == []
        assert await names(knowledge, root / "part", "nested_one") == ["nested_one"]


async def test_a_repository_runs_nothing_of_its_own_while_it_is_listed(tmp_path: Path) -> None:
    root = repository(tmp_path / "work", a_py="def one(): pass\n")
    mark = tmp_path / "ran"
    git(root, "config", "core.fsmonitor", f"touch {mark}")
    async with opened(tmp_path) as knowledge:
        assert (await knowledge.index(root)).files_indexed == 1
    assert not mark.exists()


async def test_files_that_are_no_source_are_named_with_the_reason(tmp_path: Path) -> None:
    root = write(tmp_path / "work", good_py="def good(): pass\n", node_modules__x_js="function x() {}\n")
    (root / "binary.py").write_bytes(b"\0\1\2" * 100)
    (root / "min.js").write_text("var a=1;" * 5_000)
    (root / "wide.py").write_text("def wide(): pass\n", encoding="utf-16")
    (root / "image.png").write_bytes(b"png")
    with (root / "huge.py").open("wb") as file:
        file.truncate(100 * 1024 * 1024)
    (root / "away.py").symlink_to("/etc/passwd")
    (root / "loop").symlink_to(root)
    os.mkfifo(root / "pipe.py")
    async with opened(tmp_path) as knowledge:
        status = await knowledge.index(root)
        reasons = left_out(status)
        assert status.files_indexed == 2
        assert "NUL" in reasons["binary.py"]
        assert "minified" in reasons["min.js"]
        assert "100.0 MiB" in reasons["huge.py"]
        assert "regular" in reasons["pipe.py"]
        assert "kind that is not indexed" in reasons["*.png"]
        assert "links" in reasons["(2 links)"]
        assert "tools" in reasons["node_modules/"]
        assert await names(knowledge, root, "wide") == ["wide"]
        assert status.stale_files == 0


async def test_a_file_that_hangs_its_parser_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    root = write(tmp_path / "work", a_py="def before(): pass\n", z_py="def after(): pass\n")
    (root / "bomb.js").write_text("x = " + "[{\n" * 60_000)
    async with opened(tmp_path, parsers=Parsers(1, batch_seconds=4)) as knowledge:
        status = await knowledge.index(root)
        assert "was stopped" in left_out(status)["bomb.js"]
        assert status.files_indexed == 2
        assert (status.state, status.stale_files) == ("ready", 0)
        assert await names(knowledge, root, "after") == ["after"]


async def test_vectors_follow_words_and_survive_the_loss_of_either_side(tmp_path: Path) -> None:
    root = write(tmp_path / "work", a_py="def one(): pass\n", b_md="# Title\n\nText.\n")
    vectors = f"sqlite://{tmp_path}/vectors.db"
    async with opened(tmp_path, embedding="hashing", vectors=vectors) as knowledge:
        status = await knowledge.index(root, wait=True)
        assert (status.state, status.vectors) == ("ready", status.chunks)
        answer = await knowledge.search(SearchRequest(root, "one"))
        assert answer.caveats == ()
        assert "meaning" in answer.hits[0].found_by
        write(root, a_py="def one(): return 1\n")
        await knowledge.search(SearchRequest(root, "one"))
        assert (await knowledge.index(root, wait=True)).vectors == 2
    (tmp_path / "vectors.db").unlink()
    async with opened(tmp_path, embedding="hashing", vectors=vectors) as knowledge:
        assert (await knowledge.index(root, wait=True)).vectors == 2
        assert "meaning" in (await knowledge.search(SearchRequest(root, "one"))).hits[0].found_by
        workspace = knowledge._workspace(root)
        parts = workspace.meaning.parts
        assert parts is not None
        embedder, store = parts
        code = collection_name(workspace.folder, embedder.model, documents=False)
        assert len(await store.ids(code)) == 1


async def test_a_search_without_vectors_says_so(tmp_path: Path) -> None:
    root = write(tmp_path / "work", a_py="def one(): pass\n")
    async with opened(tmp_path) as knowledge:
        status = await knowledge.index(root, wait=True)
        assert (status.state, status.vectors) == ("ready", 0)
        assert "switched off" in status.embedding
        answer = await knowledge.search(SearchRequest(root, "one"))
        assert any("switched off" in caveat for caveat in answer.caveats)
        assert (await knowledge.search(SearchRequest(root, "one", mode="words"))).caveats == ()


async def test_a_search_is_narrowed_by_path_and_language(tmp_path: Path) -> None:
    root = write(
        tmp_path / "work",
        api__a_py="def total(): pass\n",
        web__b_js="function total() {}\n",
        web__c_py="def total(): pass\n",
        d_md="# total\n\nThe total.\n",
    )
    async with opened(tmp_path, embedding="hashing") as knowledge:
        await knowledge.index(root, wait=True)

        async def paths(**more: str) -> set[str]:
            answer = await knowledge.search(SearchRequest(root, "total", **more))  # type: ignore[arg-type]  # names of fields
            return {hit.chunk.path for hit in answer.hits}

        assert await paths() == {"api/a.py", "web/b.js", "web/c.py"}
        assert await paths(path_prefix="web/") == {"web/b.js", "web/c.py"}
        assert await paths(language="javascript") == {"web/b.js"}
        assert await paths(kinds="documents") == {"d.md"}
        assert await paths(path_prefix="nowhere/") == set()


@pytest.mark.parametrize(
    ("request_", "argument"),
    [
        (SearchRequest(Path("/"), " "), "query"),
        (SearchRequest(Path("/"), "x" * 3_000), "query"),
        (SearchRequest(Path("/"), "x", limit=0), "limit"),
        (SearchRequest(Path("/"), "x", language="cobol"), "language"),
    ],
)
async def test_a_wrong_request_names_the_argument(tmp_path: Path, request_: SearchRequest, argument: str) -> None:
    async with opened(tmp_path) as knowledge:
        with pytest.raises(CallerError) as caught:
            await knowledge.search(request_)
        assert caught.value.argument == argument


@pytest.mark.parametrize("query", ['"', "a AND", "NEAR(", "*", "x: y", "- -", "'; DROP TABLE chunks", "(", "é"])
async def test_a_query_is_never_a_command_to_the_index(tmp_path: Path, query: str) -> None:
    root = write(tmp_path / "work", a_py="def one(): pass\n")
    async with opened(tmp_path) as knowledge:
        await knowledge.index(root)
        await knowledge.search(SearchRequest(root, query))
        assert await names(knowledge, root, "one") == ["one"]


async def test_symbols_are_found_exactly_then_by_their_end_then_by_parts(tmp_path: Path) -> None:
    root = write(
        tmp_path / "work",
        a_py="class Reader:\n    def parse(self): pass\n\n\ndef parse(): pass\n\n\ndef parse_all(): pass\n\n\n"
        "def reparse(): pass\n",
    )
    async with opened(tmp_path) as knowledge:
        await knowledge.index(root)

        async def found(name: str) -> list[str]:
            return [one.qualified_name for one in await knowledge.find_symbol(root, name)]

        assert set((await found("parse"))[:2]) == {"parse", "Reader.parse"}
        assert (await found("parse"))[2:] == ["parse_all", "reparse"]
        assert await found("Reader.parse") == ["Reader.parse"]
        assert await found("Reader::parse") == ["Reader.parse"]
        assert await found("PARSE_ALL") == ["parse_all"]
        assert await found("nothing") == []


async def test_references_are_certain_where_imports_or_scope_tie_them(tmp_path: Path) -> None:
    root = write(
        tmp_path / "work",
        taxes_py="def with_tax(amount):\n    return amount\n\n\ndef twice(amount):\n"
        "    return with_tax(with_tax(amount))\n",
        shop_py="from taxes import with_tax\n\n\ndef total():\n    return 'é', with_tax(1)\n",
        other_py="def elsewhere(thing):\n    return thing.with_tax(1)\n",
        shadow_py="def shadow(with_tax):\n    return with_tax(1)\n",
    )
    async with opened(tmp_path) as knowledge:
        await knowledge.index(root)
        found = await knowledge.find_references(root, "with_tax")
        assert [(one.path, one.line, one.certain) for one in found] == [
            ("shop.py", 1, True),
            ("shop.py", 5, True),
            ("taxes.py", 6, True),
            ("taxes.py", 6, True),
            ("other.py", 2, False),
        ]
        assert found[1].text == "return 'é', with_tax(1)"
        assert found[1].column == "    return 'é', with_tax(1)".index("with_tax") + 1
        assert found[1].within == "total"
        assert len(await knowledge.find_references(root, "with_tax", limit=2)) == 2


async def test_a_use_that_may_mean_two_definitions_is_not_certain(tmp_path: Path) -> None:
    root = write(
        tmp_path / "work",
        a_py="class One:\n    def run(self): pass\n\n\nclass Two:\n    def run(self): pass\n\n\n"
        "def both(x):\n    x.run()\n",
    )
    async with opened(tmp_path) as knowledge:
        await knowledge.index(root)
        assert [one.certain for one in await knowledge.find_references(root, "One.run")] == [False]
        assert [one.certain for one in await knowledge.find_references(root, "run")] == [True]


async def test_what_is_used_most_ranks_highest_and_ranks_sum_to_one(tmp_path: Path) -> None:
    users = {f"u{n}_py": f"from core import central\n\n\ndef user{n}():\n    return central()\n" for n in range(8)}
    root = write(
        tmp_path / "work", core_py="def central():\n    return 1\n\n\ndef aside():\n    return 2\n", **users
    )
    async with opened(tmp_path) as knowledge:
        await knowledge.index(root)
        symbols = [*(await knowledge.find_symbol(root, "user")), *(await knowledge.find_symbol(root, "central"))]
        symbols += await knowledge.find_symbol(root, "aside")
        assert max(symbols, key=lambda one: one.rank).name == "central"
        assert sum(one.rank for one in symbols) == pytest.approx(1.0)
        drawn = await knowledge.repository_map(root, 100)
        assert "def central()" in drawn.text
        assert drawn.tokens <= 100
        focused = await knowledge.repository_map(root, 100, focus=["u3.py"])
        assert focused.text.index("user3") < focused.text.find("user1") or "user1" not in focused.text
        with pytest.raises(CallerError):
            await knowledge.repository_map(root, 100, focus=["nothing"])


async def test_a_cancelled_indexing_keeps_what_it_did_and_goes_on(tmp_path: Path) -> None:
    root = tmp_path / "work"
    root.mkdir()
    for number in range(300):
        (root / f"m{number}.py").write_text(f"def f{number}(): pass\n")
    async with opened(tmp_path) as knowledge:
        with anyio.CancelScope() as scope:

            async def progress(done: int, total: int, message: str) -> None:
                if done:
                    scope.cancel()

            await knowledge.index(root, progress)
        assert scope.cancelled_caught
        status = await knowledge.status(root)
        assert status.state == "interrupted"
        assert status.stale_files > 0
        status = await knowledge.index(root)
        assert (status.state, status.files_indexed, status.stale_files) == ("ready", 300, 0)


async def test_two_calls_at_once_take_turns(tmp_path: Path) -> None:
    root = write(tmp_path / "work", a_py="def one(): pass\n")
    async with opened(tmp_path) as knowledge:
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(knowledge.index, root)
        assert (await knowledge.status(root)).state == "ready"


async def test_what_an_older_release_made_is_made_again(tmp_path: Path) -> None:
    root = write(tmp_path / "work", a_py="def one(): pass\n")
    async with opened(tmp_path) as knowledge:
        await knowledge.index(root)
        database = knowledge._workspace(root).database
        await database.write(lambda db: db.execute("UPDATE files SET made_by = 0"))
        await database.write(lambda db: db.execute("UPDATE facts SET value = value + 1 WHERE name = 'generation'"))
        assert (await knowledge.status(root)).stale_files == 1
        assert (await knowledge.index(root)).stale_files == 0


async def test_words_that_stand_everywhere_are_asked_for_only_where_there_are_no_others(tmp_path: Path) -> None:
    root = write(tmp_path / "work", a_py="def value_one(): pass\n", b_py="def value_two(): pass\n")
    async with opened(tmp_path) as knowledge:
        await knowledge.index(root)
        assert set(await names(knowledge, root, "values of one")) == {"value_one", "value_two"}
        common = '{"valu": 2, "def": 2}'
        await knowledge._workspace(root).database.write(
            lambda db: db.execute("UPDATE facts SET value = ? WHERE name = 'common_code_words'", (common,))
        )
        assert await names(knowledge, root, "values of one") == ["value_one"]
        assert set(await names(knowledge, root, "the values")) == {"value_one", "value_two"}


async def test_where_words_stand_in_many_chunks_those_with_a_rare_one_are_scored_and_by_all_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_SCORED_CHUNKS", 2)
    files = {f"common_{number}_py": f"def value_{number}(): return 'sorted'\n" for number in range(8)}
    files |= {f"other_{number}_py": f"def other_{number}(): pass\n" for number in range(20)}
    files["both_py"] = "def value_both(): return 'sorted by walrus'\n"
    files["rare_py"] = "def thing(): return 'a walrus'\n"
    root = write(tmp_path / "work", **files)
    async with opened(tmp_path) as knowledge:
        await knowledge.index(root)
        assert await names(knowledge, root, "sorted values walrus") == ["value_both", "thing"]
        assert len(await names(knowledge, root, "sorted values")) == 9, "what only common words find is found"


async def test_a_search_sees_what_another_one_read_while_it_looked(tmp_path: Path) -> None:
    root = write(tmp_path / "work", a_py="def one(): pass\n")
    async with opened(tmp_path) as knowledge:
        await knowledge.index(root)
        write(root, a_py="def one(): pass\n\ndef two(): pass\n")
        found: list[list[str]] = []

        async def ask() -> None:
            found.append(await names(knowledge, root, "two"))

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(ask)
        assert found == [["two"]] * 3


async def test_an_index_of_an_older_release_keeps_its_chunks_and_gets_the_new_order_of_names(
    tmp_path: Path,
) -> None:
    root = write(tmp_path / "work", a_py="def one(): pass\n")
    async with opened(tmp_path) as knowledge:
        await knowledge.index(root)
        database = knowledge._workspace(root).folder.database
    with closing(sqlite3.connect(database)) as older:
        older.execute("DROP INDEX chunks_by_file")
        older.execute("CREATE INDEX chunks_by_file ON chunks (file)")
        older.execute("PRAGMA user_version = 1")
        older.commit()
    async with opened(tmp_path) as knowledge:
        assert await names(knowledge, root, "one") == ["one"]
    with closing(sqlite3.connect(database)) as newer:
        columns = [name for _, _, name in newer.execute("PRAGMA index_info (chunks_by_file)")]
    assert columns == ["file", "name"]


async def test_a_damaged_index_says_how_it_is_made_anew(tmp_path: Path) -> None:
    root = write(tmp_path / "work", a_py="def one(): pass\n")
    async with opened(tmp_path) as knowledge:
        await knowledge.index(root)
        folder = knowledge._workspace(root).folder
    folder.database.write_bytes(b"no database" * 1_000)
    async with opened(tmp_path) as knowledge:
        with pytest.raises(Damaged, match=str(folder.directory)):
            await knowledge.search(SearchRequest(root, "one"))
    shutil.rmtree(folder.directory)
    async with opened(tmp_path) as knowledge:
        assert (await knowledge.index(root)).state == "ready"


async def test_a_deletion_that_a_status_saw_first_is_noticed_all_the_same(tmp_path: Path) -> None:
    root = write(tmp_path / "work", a_py="def one(): pass\n", b_py="def two(): pass\n")
    async with opened(tmp_path) as knowledge:
        await knowledge.index(root)
        (root / "b.py").unlink()
        with anyio.fail_after(25):  # A stamp proves something once the file system's clock has gone on.
            while not stamp_of(root.stat()).is_proof(time.time_ns()):
                await anyio.lowlevel.checkpoint()
        assert (await knowledge.status(root)).stale_files == 1
        assert await names(knowledge, root, "two") == []
