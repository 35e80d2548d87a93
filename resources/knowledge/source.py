"""Lines of a file in a workspace, with secrets masked."""

from pathlib import Path

from quantum_suite.core.errors import NotFound
from quantum_suite.services.knowledge.parsing.decoding import MAX_FILE_BYTES, NotText, decode
from quantum_suite.services.knowledge.source_lines import MAX_LINES, SourceSpan, masked_lines, source_uri


def source_text(path: Path, span: SourceSpan) -> str:
    """Return the lines, at most `MAX_LINES`, and what to read for more. Blocks.

    Raises NotFound when the file or the lines are not there, or hold no text.
    """
    try:
        with path.open("rb") as file:
            text = masked_lines(decode(file.read(MAX_FILE_BYTES)).text)
    except (OSError, NotText) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise NotFound(f"'{path}' cannot be shown: {reason}.") from error
    lines = text.split("\n")
    if span.first > len(lines):
        raise NotFound(f"'{path}' has {len(lines)} lines.", "It may have changed; search again.")
    last = min(span.last, span.first + MAX_LINES - 1, len(lines))
    shown = "\n".join(lines[span.first - 1 : last])
    if last < min(span.last, len(lines)):
        shown += f"\n[more: {source_uri(path, last + 1, min(span.last, len(lines)))}]"
    return shown
