"""How fast a code base becomes searchable, stays so while it is edited, and answers.

    python bench/code_index.py                      # Python's own standard library
    python bench/code_index.py --data DIR           # any sources; they are copied, never changed
    python bench/code_index.py --smoke --json       # a few packages, in seconds, without network

- `index_1m_lines_seconds`: from nothing until words and symbols are searchable, scaled to a million lines.
  `index_seconds` and `lines` are as measured; `index_cpu_seconds` is the processor time all processes used
  for it, which says more than the clock where other things run on the machine.
- `edited_file_seconds`: from the write of a file until it is found by what was written; the slowest of the rounds.
- `query_p50_ms`, `query_p95_ms`: whole searches (is anything edited, words, meaning, symbols, merged, read) with
  the first sentences of docstrings of the code itself as questions, one at a time.
- `vectors_chunks_per_s`: how fast vectors follow in the background; they are made for `--vector-seconds`, or to
  the end. Queries are measured after that, while none are being made.

With `--json` the last line is `{"figures": {...}}`.
"""

import argparse
import ast
import json
import os
import resource
import shutil
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import anyio

from quantum_suite.services.knowledge.interface import IndexStatus, SearchRequest
from quantum_suite.services.knowledge.opening import open_knowledge
from quantum_suite.services.knowledge.service import LocalKnowledge

SMOKE_PACKAGES = ("asyncio", "email", "http", "json", "unittest")
EDITS = 10
Figures = dict[str, float]


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="sources to index; Python's standard library when left out")
    parser.add_argument("--smoke", action="store_true", help="a few packages alone")
    parser.add_argument("--json", action="store_true", help="end with one line of figures")
    parser.add_argument("--queries", type=int, default=200, help="questions asked")
    parser.add_argument("--vector-seconds", type=float, default=60, help="how long vectors are made; 0 for none")
    parser.add_argument("--embedding", default="onnx-minilm", help="as QUANTUM_EMBEDDING")
    options = parser.parse_args()
    if options.smoke:
        options.queries, options.vector_seconds = min(options.queries, 30), min(options.vector_seconds, 3)
    figures = anyio.run(measure, options)
    for name, value in figures.items():
        print(f"{name:28} {value:,.3f}")
    if options.json:
        print(json.dumps({"figures": figures}))


async def measure(options: argparse.Namespace) -> Figures:
    """Copy the sources, index them and ask."""
    with tempfile.TemporaryDirectory(prefix="code-index-") as folder:
        root = Path(folder).resolve() / "work"
        copy_sources(options, root)
        lines = sum(text.count(b"\n") for text in sources(root))
        figures: Figures = {"lines": lines}
        embedding = options.embedding if options.vector_seconds else "none"
        async with open_knowledge(Path(folder) / "data", embedding="none", environ=os.environ) as knowledge:
            status = await index(knowledge, root, figures)
        figures["index_1m_lines_seconds"] = figures["index_seconds"] * 1_000_000 / max(1, lines)
        figures["index_cpu_seconds"] = cpu_seconds()
        print(f"{status.files_indexed} files, {status.chunks} chunks, {status.symbols} symbols", flush=True)
        async with open_knowledge(Path(folder) / "data", embedding=embedding, environ=os.environ) as knowledge:
            await follow_vectors(knowledge, root, options.vector_seconds, figures)
        # Opened anew without anything under way: what a question costs by itself.
        async with open_knowledge(Path(folder) / "data", embedding=embedding, environ=os.environ) as knowledge:
            await ask(knowledge, root, questions(root, options.queries), figures)
            await edit(knowledge, root, figures)
    return figures


def cpu_seconds() -> float:
    """Return the processor time of this process and of the child processes that have ended."""
    spent = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in spent)


def copy_sources(options: argparse.Namespace, root: Path) -> None:
    """Copy what is measured, so that it can be edited."""
    library = Path(sysconfig.get_paths()["stdlib"])
    ignored = shutil.ignore_patterns("site-packages", "__pycache__", ".git", "node_modules")
    if options.smoke:
        for package in SMOKE_PACKAGES:
            shutil.copytree(library / package, root / package, ignore=ignored)
    else:
        shutil.copytree(options.data or library, root, ignore=ignored, symlinks=True)


def sources(root: Path) -> Iterator[bytes]:
    """Yield the content of what is indexed, by and large: texts that are not too large."""
    for path in root.rglob("*"):
        if (
            path.is_file()
            and not path.is_symlink()
            and path.suffix in (".py", ".js", ".c", ".h", ".md", ".txt", ".ts")
        ):
            yield path.read_bytes()


async def index(knowledge: LocalKnowledge, root: Path, figures: Figures) -> IndexStatus:
    """Index from nothing; the clock stops when words and symbols can be searched."""
    began = time.perf_counter()
    status = await knowledge.index(root)
    figures["index_seconds"] = time.perf_counter() - began
    figures["files"] = status.files_indexed
    figures["chunks"] = status.chunks
    return status


async def follow_vectors(knowledge: LocalKnowledge, root: Path, seconds: float, figures: Figures) -> None:
    """Let vectors be made for a while and say how fast."""
    if not seconds:
        return
    await knowledge.index(root)
    with anyio.move_on_after(60):
        while (status := await knowledge.status(root)).vectors == 0 and status.problem is None:
            await anyio.sleep(0.05)
    first, began = status.vectors, time.perf_counter()
    with anyio.move_on_after(seconds):
        while (status := await knowledge.status(root)).state == "embedding":
            # Seldom: a status looks at every file, and would take a good part of a processor.
            await anyio.sleep(min(5, seconds / 5))
    spent = time.perf_counter() - began
    if status.problem is not None:
        print(f"vectors: {status.problem}")
    figures["vectors"] = status.vectors
    figures["vectors_chunks_per_s"] = (status.vectors - first) / spent


def questions(root: Path, count: int) -> list[str]:
    """Return first sentences of docstrings, spread over the code."""
    found = []
    for path in sorted(root.rglob("*.py")):
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and (text := ast.get_docstring(node)):
                sentence = text.split("\n\n")[0].replace("\n", " ").split(". ")[0]
                if len(sentence.split()) > 3:
                    found.append(sentence[:300])
    return found[:: max(1, len(found) // count)][:count]


async def ask(knowledge: LocalKnowledge, root: Path, asked: list[str], figures: Figures) -> None:
    """Ask the questions one after the other; the first few load what is loaded on first use, and do not count."""
    for query in asked[:3]:
        await knowledge.search(SearchRequest(root, query))
    spent = []
    for query in asked:
        began = time.perf_counter()
        await knowledge.search(SearchRequest(root, query))
        spent.append((time.perf_counter() - began) * 1_000)
    spent.sort()
    figures["query_p50_ms"] = spent[len(spent) // 2]
    figures["query_p95_ms"] = spent[int(len(spent) * 0.95)]


async def edit(knowledge: LocalKnowledge, root: Path, figures: Figures) -> None:
    """Write to files, and search for what was written until it is found."""
    files = sorted(path for path in root.rglob("*.py") if path.stat().st_size < 200_000)
    spent = []
    for number in range(EDITS):
        file = files[(number * len(files)) // EDITS]
        name = f"edited_marker_{number}"
        with file.open("a") as opened:
            opened.write(f"\n\ndef {name}():\n    return {number}\n")
        began = time.perf_counter()
        with anyio.fail_after(60):
            while not await knowledge.find_symbol(root, name, 1):
                pass
        spent.append(time.perf_counter() - began)
    figures["edited_file_seconds"] = max(spent)
    figures["edited_file_median_seconds"] = sorted(spent)[len(spent) // 2]


if __name__ == "__main__":
    main()
