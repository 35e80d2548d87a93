"""How the end of a command is told: by what it ended, and in one sentence."""

import signal

from quantum_suite.core.verdicts import Isolation
from quantum_suite.services.sandbox.interface import EndedBy, SandboxRun
from quantum_suite.services.sandbox.running import Ended

_LAST_WORDS: tuple[tuple[bytes, EndedBy], ...] = (
    (b"MemoryError", "memory"),
    (b"terminate called after throwing an instance of 'std::bad_alloc'", "memory"),
    (b"fatal error: runtime: out of memory", "memory"),
    (b"FATAL ERROR: Reached heap limit", "memory"),
    (b"OSError: [Errno 27] File too large", "disk"),
)
"""What runtimes write last when an allocation or a write was refused them, and they had no answer to that."""

_KEPT_APART = {
    Isolation.BUBBLEWRAP: "It ran in namespaces of its own (bubblewrap).",
    Isolation.RLIMITS: "It ran under resource limits alone, with the user's files and the network in reach.",
    Isolation.NOT_NEEDED: "Nothing was executed.",
}


def account(ended: Ended, isolation: Isolation, *, network: bool) -> SandboxRun:
    """Return what became of a command, with the sentence that explains it."""
    by, how = _how(ended)
    apart = _KEPT_APART[isolation]
    if isolation is Isolation.BUBBLEWRAP:
        apart = apart[:-1] + (", with the network." if network else ", without network.")
    return SandboxRun(
        returncode=ended.returncode if ended.ending is None else -signal.SIGKILL,
        ended_by=by,
        stdout=ended.stdout,
        stderr=ended.stderr,
        truncated=ended.truncated,
        isolation=isolation,
        seconds=ended.seconds,
        explanation=f"{how} {apart}",
    )


def _how(ended: Ended) -> tuple[EndedBy, str]:
    if ended.ending is not None:
        return ended.ending.by, f"It was ended because {ended.ending.reason}."
    code = ended.returncode
    if code == -signal.SIGXFSZ:
        return "disk", "It was ended because it wrote a file larger than it may."
    if code < 0:
        return "signal", f"It was ended by {_name(-code)}, which it did not get from the sandbox."
    if code > 0 and (met := _limit_in(ended.stderr)) is not None:
        refused = "memory" if met == "memory" else "a write past the largest file it may write"
        return met, f"It gave up with exit status {code} when it was refused {refused}."
    return "itself", f"It ended by itself with exit status {code}."


def _limit_in(stderr: bytes) -> EndedBy | None:
    last = stderr.rstrip().rpartition(b"\n")[2]
    return next((by for words, by in _LAST_WORDS if last.startswith(words)), None)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
