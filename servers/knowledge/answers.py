"""What the tools answer: structured for programs, a few lines of text for a model, links for what is long."""

from mcp_types import CallToolResult, ContentBlock, ResourceLink, TextContent
from pydantic import BaseModel

from quantum_suite.tools.knowledge.find_symbols import ReferenceList, RepositoryMapAnswer, SymbolList
from quantum_suite.tools.knowledge.index_workspace import IndexReport
from quantum_suite.tools.knowledge.search_chunks import FoundChunk, SearchResult

_LINKS = 5
_SHOWN_LEFT_OUT = 10
_SNIPPET_LINES = 6


def index_answer(report: IndexReport) -> CallToolResult:
    """Return the answer of index_workspace and index_status."""
    languages = ", ".join(f"{name} {number}" for name, number in report.languages.items())
    lines = [f"{report.path}: {report.state}."]
    if report.state != "absent":
        lines += [
            f"{report.files_indexed} of {report.files} files, {report.chunks} chunks, {report.symbols} symbols"
            f"{f' ({languages})' if languages else ''}.",
            f"{report.vectors} of {report.chunks} chunks can be found by meaning ({report.embedding}).",
        ]
    else:
        lines.append("There is no index yet: call index_workspace.")
    if report.stale_files:
        lines.append(f"{report.stale_files} files changed since they were indexed.")
    if report.problem:
        lines.append(f"Problem: {report.problem}")
    lines += [f"Not indexed: {item.path}: {item.reason}" for item in report.not_indexed[:_SHOWN_LEFT_OUT]]
    more = len(report.not_indexed) + report.omitted - _SHOWN_LEFT_OUT
    if more > 0:
        lines.append(f"{more} more entries are not indexed.")
    return _result(report, "\n".join(lines))


def search_answer(answer: SearchResult) -> CallToolResult:
    """Return the answer of search_code and search_docs, with links to the best chunks."""
    lines = [f"{len(answer.hits)} found." if answer.hits else "Nothing was found."]
    for hit in answer.hits:
        lines.append(
            f"- {hit.path}:{hit.start_line}-{hit.end_line} {hit.kind} {hit.name} ({', '.join(hit.found_by)})"
        )
        lines += [f"    {line}" for line in hit.snippet.split("\n")[:_SNIPPET_LINES]]
    lines += [f"Note: {caveat}" for caveat in answer.caveats]
    return _result(answer, "\n".join(lines), *(_link(hit) for hit in answer.hits[:_LINKS]))


def symbols_answer(name: str, answer: SymbolList) -> CallToolResult:
    """Return the answer of find_symbol."""
    lines = [f"- {one.path}:{one.line} {one.kind} {one.name}: {one.signature}" for one in answer.symbols]
    return _result(answer, "\n".join(lines) or f"Nothing named {name} is defined in the indexed files.")


def references_answer(name: str, answer: ReferenceList) -> CallToolResult:
    """Return the answer of find_references."""
    lines = [
        f"- {one.path}:{one.line}:{one.column}{'' if one.certain else ' (by name)'}"
        f"{f' in {one.within}' if one.within else ''}: {one.text}"
        for one in answer.references
    ]
    if not answer.complete:
        lines.append("There are more; raise limit.")
    return _result(answer, "\n".join(lines) or f"No use of {name} was found in the indexed files.")


def map_answer(answer: RepositoryMapAnswer) -> CallToolResult:
    """Return the answer of repository_map."""
    text = answer.map or "No definitions are indexed."
    more = f"\n{answer.omitted_symbols} symbols are not on the map." if answer.omitted_symbols else ""
    return _result(answer, f"{text}{more}")


def _link(hit: FoundChunk) -> ResourceLink:
    return ResourceLink(
        uri=hit.uri,
        name=hit.name,
        mime_type="text/plain",
        description=f"{hit.path}:{hit.start_line}-{hit.end_line}",
    )


def _result(answer: BaseModel, text: str, *links: ContentBlock) -> CallToolResult:
    return CallToolResult(
        content=[TextContent(text=text), *links], structured_content=answer.model_dump(mode="json")
    )
