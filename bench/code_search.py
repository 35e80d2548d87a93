"""How often the right code is found by a question, on CoSQA and on Python's own standard library.

    git clone https://github.com/Jun-jie-Huang/CoCLR
    python bench/code_search.py --data CoCLR/data/search

CoSQA: 500 web queries of people, 6,267 functions, for each query the one that annotators took. Standard library:
3,000 of its functions with their docstrings cut out, and the first paragraph of each docstring as the question; no
data is needed for it. Every function becomes a file of a workspace, which is indexed and searched as the product
does it: the same parser, words, model, store and fusion. A question counts by the place of its function among the
first 100: MRR is the mean of 1 / place, nDCG@10 that of 1 / log2(1 + place) up to place 10.

Compared are search by words alone, by meaning alone, both by equal-weight reciprocal rank fusion (k = 60), and the
suite's own. Its weight was chosen on other questions: CoSQA's development ones, and docstrings of packages (see
docs/decisions/0020-knowledge.md).

`--keep DIR` keeps the vectors of texts, so that a second run spares the model. `--smoke` takes 60 functions of the
standard library. With `--json` the last line is `{"figures": {...}}`.
"""

import argparse
import array
import ast
import hashlib
import json
import math
import random
import sqlite3
import statistics
import sysconfig
import tempfile
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from quantum_suite.services.knowledge.embed_chunks import Meaning
from quantum_suite.services.knowledge.embedding.onnx_minilm import OnnxMiniLmEmbedder
from quantum_suite.services.knowledge.embedding.query_cache import QueryCache
from quantum_suite.services.knowledge.index.parsers import Parsers
from quantum_suite.services.knowledge.index.reading import Scope, chunks_of
from quantum_suite.services.knowledge.interface import Embedder, SearchRequest
from quantum_suite.services.knowledge.ranking import fuse
from quantum_suite.services.knowledge.search import look
from quantum_suite.services.knowledge.vectors.opening import open_vectors
from quantum_suite.services.knowledge.workspace import Workspace

DEPTH = 100
RRF_CONSTANT = 60
PAIRS = 3_000
SEED = 4
NOT_LIBRARY = frozenset({"test", "tests", "site-packages", "idlelib", "lib2to3", "turtledemo"})
WAYS = ("words", "meaning", "rrf", "ours")


@dataclass(frozen=True, slots=True)
class Corpus:
    """Functions, and questions with the number of the function each is for."""

    name: str
    functions: list[str]
    questions: list[tuple[str, int]]


@dataclass(slots=True)
class Outcome:
    """What came out for one corpus: the place of the right function for each question and way (0: not found)."""

    places: dict[str, list[int]] = field(default_factory=lambda: {way: [] for way in WAYS})
    milliseconds: list[float] = field(default_factory=list)
    """Of a question, embedded, searched in every way, and fused."""
    embedded_a_second: float = 0.0

    def mrr(self, way: str) -> float:
        """Return the mean reciprocal rank."""
        return statistics.fmean(1 / place if place else 0.0 for place in self.places[way])

    def ndcg(self, way: str) -> float:
        """Return nDCG@10, where one function is right."""
        return statistics.fmean(1 / math.log2(1 + place) if 0 < place <= 10 else 0.0 for place in self.places[way])


class KeptVectors:
    """An embedder that looks up first what it has embedded before."""

    def __init__(self, embedder: Embedder, path: Path) -> None:
        self._embedder = embedder
        self._database = sqlite3.connect(path)
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID"
        )
        self.embedded, self.seconds = 0, 0.0
        self.model, self.dimensions = embedder.model, embedder.dimensions

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        """Return a vector a text."""
        keys = [hashlib.sha256(f"{self.model}\0{text}".encode()).digest() for text in texts]
        kept = {key: self._kept(key) for key in keys}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if kept[key] is None}
        began = time.perf_counter()
        made = await self._embedder.embed(list(missing.values()), query=query) if missing else []
        self.seconds += time.perf_counter() - began
        self.embedded += len(made)
        rows = [(key, array.array("f", vector).tobytes()) for key, vector in zip(missing, made, strict=True)]
        self._database.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
        self._database.commit()
        kept.update(zip(missing, made, strict=True))
        return [kept[key] or [] for key in keys]

    async def rest(self) -> None:
        """Rest."""
        await self._embedder.rest()

    def _kept(self, key: bytes) -> list[float] | None:
        row = self._database.execute("SELECT vector FROM vectors WHERE key = ?", (key,)).fetchone()
        return None if row is None else array.array("f", row[0]).tolist()


def cosqa(data: Path) -> Corpus:
    """Return CoSQA's test queries over its code base."""
    numbers: dict[str, int] = json.loads((data / "code_idx_map.txt").read_text("utf-8"))
    functions = [code for code, _ in sorted(numbers.items(), key=lambda item: item[1])]
    tests = json.loads((data / "cosqa-retrieval-test-500.json").read_text("utf-8"))
    return Corpus("CoSQA", functions, [(test["doc"], test["retrieval_idx"]) for test in tests])


def standard_library(count: int, *, most_files: int | None = None) -> Corpus:
    """Return functions of this Python's library without their docstrings, chosen by a fixed seed."""
    root = Path(sysconfig.get_path("stdlib"))
    files = sorted(f for f in root.rglob("*.py") if not NOT_LIBRARY & set(f.relative_to(root).parts))
    pairs: dict[str, str] = {}
    for file in files[:most_files]:
        for question, code in _functions(file):
            pairs.setdefault(question, code)
    chosen = list(pairs.items())
    random.Random(SEED).shuffle(chosen)
    del chosen[count:]
    questions = [(question, number) for number, (question, _) in enumerate(chosen)]
    return Corpus("standard library", [code for _, code in chosen], questions)


def _functions(file: Path) -> Iterator[tuple[str, str]]:
    """Give the first paragraph of each docstring, and its function without it; very small ones are left out."""
    try:
        source = file.read_text("utf-8")
        tree = ast.parse(source)
    except (UnicodeDecodeError, SyntaxError):
        return
    lines = source.splitlines()
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith(("__", "test")):
            continue
        question = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
        first = node.body[0]
        body = lines[first.end_lineno : node.end_lineno]
        if len(question.split()) < 4 or len(body) < 3 or first.lineno == node.lineno:
            continue
        signature = " ".join(" ".join(lines[node.lineno - 1 : first.lineno - 1]).split())
        yield question, f"{signature}\n{textwrap.indent(textwrap.dedent(chr(10).join(body)), '    ')}"


async def measure(corpus: Corpus, keep: Path | None) -> Outcome:
    """Index a corpus and ask its questions."""
    outcome = Outcome()
    async with AsyncExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="code-search-"))).resolve()
        root = scratch / "code"
        root.mkdir()
        for number, code in enumerate(corpus.functions):
            (root / f"{number:05}.py").write_text(code, "utf-8")
        model = await stack.enter_async_context(OnnxMiniLmEmbedder())
        embedder = KeptVectors(model, (keep or scratch) / "vectors.db")
        vectors = await stack.enter_async_context(open_vectors("auto", scratch / "vectors"))
        parsers = await stack.enter_async_context(Parsers(2))
        tasks = await stack.enter_async_context(anyio.create_task_group())
        meaning = Meaning(QueryCache(embedder), vectors.store, vectors.reason)
        workspace = Workspace(root, scratch / "index", parsers, meaning, tasks)
        stack.callback(workspace.close)
        await workspace.update(None)
        workspace.embed()
        await workspace.embedded()
        status = await workspace.status()
        if status.state != "ready" or status.vectors < status.chunks:
            raise RuntimeError(f"The index is not whole: {status}")
        if embedder.embedded:
            outcome.embedded_a_second = embedder.embedded / embedder.seconds
        print(
            f"{corpus.name}: {status.files_indexed} functions, {status.chunks} chunks, "
            f"{len(corpus.questions)} questions"
        )
        for question, right in corpus.questions:
            await _ask(workspace, status.chunks, question, right, outcome)
    return outcome


async def _ask(workspace: Workspace, chunks_searched: int, question: str, right: int, outcome: Outcome) -> None:
    began = time.perf_counter()
    request = SearchRequest(workspace.folder.root, question[:2_000], limit=DEPTH)
    found = await look(workspace, request, Scope(documents=False))
    if found.problems:
        raise RuntimeError(found.problems[0])
    fused = fuse(found.words, found.meaning, found.symbols, DEPTH, chunks=chunks_searched)
    ours = [key for key, _, _ in fused]
    outcome.milliseconds.append((time.perf_counter() - began) * 1000)
    words, meaning = [key for key, _ in found.words], [key for key, _ in found.meaning]
    ranked = {"words": words, "meaning": meaning, "rrf": by_rank(words, meaning), "ours": ours}
    keys = list({key for order in ranked.values() for key in order})
    chunks = await workspace.database.read(lambda db: chunks_of(db, keys))
    for way, order in ranked.items():
        files = list(dict.fromkeys(chunks[key].path for key in order))
        wanted = f"{right:05}.py"
        outcome.places[way].append(files.index(wanted) + 1 if wanted in files else 0)


def by_rank(*orders: Sequence[str]) -> list[str]:
    """Return the orders merged by reciprocal rank, each weighing the same."""
    scores: dict[str, float] = {}
    for order in orders:
        for place, key in enumerate(order, 1):
            scores[key] = scores.get(key, 0.0) + 1 / (RRF_CONSTANT + place)
    return sorted(scores, key=lambda key: (-scores[key], key))[:DEPTH]


def report(outcome: Outcome, prefix: str) -> dict[str, float]:
    """Print a corpus's table; returns its figures."""
    figures: dict[str, float] = {}
    for way in WAYS:
        print(f"  {way:<9} MRR {outcome.mrr(way):.3f}   nDCG@10 {outcome.ndcg(way):.3f}")
        name = "" if way == "ours" else f"_{way}"
        figures[f"{prefix}{name}_mrr"] = round(outcome.mrr(way), 4)
        figures[f"{prefix}{name}_ndcg10"] = round(outcome.ndcg(way), 4)
    times = sorted(outcome.milliseconds)
    median, slow = times[len(times) // 2], times[int(len(times) * 0.95)]
    figures |= {f"{prefix}_p50_ms": round(median, 1), f"{prefix}_p95_ms": round(slow, 1)}
    print(f"  a question, embedded and searched: p50 {median:.0f} ms, p95 {slow:.0f} ms")
    if outcome.embedded_a_second:
        figures[f"{prefix}_embedded_per_second"] = round(outcome.embedded_a_second, 1)
        print(f"  embedded: {outcome.embedded_a_second:.0f} texts a second")
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, help="CoCLR's data/search, with code_idx_map.txt; without it, no CoSQA"
    )
    parser.add_argument("--keep", type=Path, help="where vectors are kept from one run to the next")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="functions of the standard library")
    parser.add_argument("--smoke", action="store_true", help="a little of everything, in seconds")
    parser.add_argument("--json", action="store_true", help="end with one line of figures")
    options = parser.parse_args()
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
    library = standard_library(60, most_files=40) if options.smoke else standard_library(options.pairs)
    corpora = [("stdlib", library)]
    if options.data is not None and not options.smoke:
        corpora.insert(0, ("cosqa", cosqa(options.data)))
    figures: dict[str, float] = {}
    for prefix, corpus in corpora:
        figures |= report(anyio.run(measure, corpus, options.keep), prefix)
    if options.json:
        print(json.dumps({"figures": figures}))


if __name__ == "__main__":
    main()
