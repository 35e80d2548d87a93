"""Keep the help shown in the manual the help that is printed.

A comment `<!-- quantum call --help -->` stands before a fenced block; the block is that command's output at 80
columns. `python docs/help_blocks.py` rewrites the blocks, `--check` says which are out of date.
"""

import argparse
import contextlib
import io
import os
import re
import sys
from pathlib import Path

from quantum_suite.hub.cli.main import main as quantum

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "docs/cli.md")
_BLOCK = re.compile(r"(<!-- quantum (?P<arguments>[^>]*?) ?-->\n```text\n)(?P<shown>.*?)(```\n)", re.DOTALL)


def main() -> int:
    """Rewrite the blocks, or check them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit code 1 when a block is out of date"
    )
    check = parser.parse_args().check
    os.environ["COLUMNS"] = "80"
    stale = 0
    for page in PAGES:
        path = ROOT / page
        text = path.read_text(encoding="utf-8")
        fresh = _BLOCK.sub(lambda match: match[1] + printed(match["arguments"].split()) + match[4], text)
        if fresh == text:
            continue
        stale += 1
        if check:
            print(f"{page} shows help that is out of date; run `make docs`.")
        else:
            path.write_text(fresh, encoding="utf-8")
    return 1 if check and stale else 0


def printed(arguments: list[str]) -> str:
    """Return what `quantum ARGUMENTS` prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        quantum(arguments)
    return out.getvalue()


if __name__ == "__main__":
    sys.exit(main())
