"""Coverage in the forms other tools read: Cobertura XML, LCOV and a page of HTML."""

import html
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree  # Written here, never read: nobody else's XML is parsed.

from quantum_suite.services.testing.interface import FileCoverage

_LARGEST_SOURCE = 1_000_000


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over files."""

    lines: int
    covered: int
    branches: int
    covered_branches: int

    @property
    def line_rate(self) -> float:
        """Share of lines reached; 1 where there are none."""
        return self.covered / self.lines if self.lines else 1.0

    @property
    def branch_rate(self) -> float:
        """Share of branches taken; 1 where there are none."""
        return self.covered_branches / self.branches if self.branches else 1.0


def totals(files: Sequence[FileCoverage]) -> Totals:
    """Return the sums over `files`."""
    return Totals(
        lines=sum(len(file.executed) + len(file.missing) for file in files),
        covered=sum(len(file.executed) for file in files),
        branches=sum(file.branches for file in files),
        covered_branches=sum(max(0, file.branches - len(file.missing_branches)) for file in files),
    )


def lcov(files: Sequence[FileCoverage]) -> str:
    """Return an LCOV trace. Branches are those that were missed, by their line: what was taken is counted."""
    out: list[str] = []
    for file in files:
        sums = totals([file])
        out += ["TN:", f"SF:{file.path}"]
        out += [
            f"BRDA:{start},0,jump to {'exit' if end < 0 else f'line {end}'},0"
            for start, end in sorted(file.missing_branches)
        ]
        out += [f"BRF:{sums.branches}", f"BRH:{sums.covered_branches}"]
        out += [f"DA:{line},{int(line in file.executed)}" for line in sorted(file.executed | file.missing)]
        out += [f"LF:{sums.lines}", f"LH:{sums.covered}", "end_of_record"]
    return "\n".join(out) + "\n"


def cobertura(files: Sequence[FileCoverage], root: str) -> bytes:
    """Return Cobertura XML, a package for each folder."""
    sums = totals(files)
    top = ElementTree.Element(
        "coverage",
        {
            "version": "1",
            "timestamp": str(int(time.time() * 1000)),
            "lines-valid": str(sums.lines),
            "lines-covered": str(sums.covered),
            "line-rate": f"{sums.line_rate:.4f}",
            "branches-valid": str(sums.branches),
            "branches-covered": str(sums.covered_branches),
            "branch-rate": f"{sums.branch_rate:.4f}",
            "complexity": "0",
        },
    )
    ElementTree.SubElement(ElementTree.SubElement(top, "sources"), "source").text = root
    packages = ElementTree.SubElement(top, "packages")
    folders = sorted({str(PurePosixPath(file.path).parent) for file in files})
    for folder in folders:
        within = [file for file in files if str(PurePosixPath(file.path).parent) == folder]
        name = folder.replace("/", ".") if folder != "." else ""
        package = ElementTree.SubElement(packages, "package", {"name": name, **_rates(within), "complexity": "0"})
        classes = ElementTree.SubElement(package, "classes")
        for file in within:
            classes.append(_class(file))
    return bytes(ElementTree.tostring(top, encoding="utf-8", xml_declaration=True))


def _rates(files: Sequence[FileCoverage]) -> dict[str, str]:
    sums = totals(files)
    return {"line-rate": f"{sums.line_rate:.4f}", "branch-rate": f"{sums.branch_rate:.4f}"}


def _class(file: FileCoverage) -> ElementTree.Element:
    name = PurePosixPath(file.path).name
    attributes = {"name": name, "filename": file.path, **_rates([file]), "complexity": "0"}
    element = ElementTree.Element("class", attributes)
    ElementTree.SubElement(element, "methods")
    lines = ElementTree.SubElement(element, "lines")
    missed: dict[int, list[str]] = {}
    for start, end in sorted(file.missing_branches):
        missed.setdefault(start, []).append("exit" if end < 0 else str(end))
    for line in sorted(file.executed | file.missing):
        shown = {"number": str(line), "hits": str(int(line in file.executed))}
        if line in missed:
            shown |= {"branch": "true", "missing-branches": ",".join(missed[line])}
        ElementTree.SubElement(lines, "line", shown)
    return element


_STYLE = """body{font:14px sans-serif;margin:2em}table{border-collapse:collapse}
td,th{padding:2px 10px;text-align:left}
pre{margin:0}.m{background:#fdd}.b{background:#ffd}.h{background:#efe}.n{color:#888;text-align:right}"""


def html_page(files: Sequence[FileCoverage], root: Path) -> str:
    """Return one page without scripts: a table of files, then each file's lines with what was missed marked."""
    rows, bodies = [], []
    for number, file in enumerate(files):
        sums = totals([file])
        path = html.escape(file.path)
        rows.append(
            f'<tr><td><a href="#f{number}">{path}</a></td><td>{sums.line_rate:.1%}</td>'
            f"<td>{len(file.missing)}</td><td>{sums.branch_rate:.1%}</td></tr>"
        )
        bodies.append(f'<h2 id="f{number}">{path}</h2>{_source(file, root)}')
    sums = totals(files)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Coverage</title><style>{_STYLE}</style>'
        f"<h1>Coverage: {sums.line_rate:.1%} of lines, {sums.branch_rate:.1%} of branches</h1>"
        f"<table><tr><th>File<th>Lines<th>Missed<th>Branches</tr>{''.join(rows)}</table>{''.join(bodies)}</html>"
    )


def _source(file: FileCoverage, root: Path) -> str:
    path = root / file.path
    try:
        if path.stat().st_size > _LARGEST_SOURCE:
            return "<p>Too large to show.</p>"
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "<p>The file is not there any more.</p>"
    partly = {start for start, _ in file.missing_branches}
    shown = []
    for number, line in enumerate(lines, 1):
        kind = (
            "m" if number in file.missing else "b" if number in partly else "h" if number in file.executed else ""
        )
        shown.append(f'<tr class="{kind}"><td class="n">{number}</td><td><pre>{html.escape(line)}</pre></td></tr>')
    return f"<table>{''.join(shown)}</table>"
