"""Checks the checkpoints themselves: signatures, order, and the database's list against the file's."""

from collections.abc import Sequence
from dataclasses import dataclass

from quantum_suite.services.audit.chain.checkpoints import NOTHING_BEFORE, Checkpoint, PublicKeys, is_signed
from quantum_suite.services.audit.findings import Finding, Kind

NO_FILE = "There is no file of checkpoints here: an end that was cut off, checkpoints included, would not show."


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found out about checkpoints."""

    good: tuple[Checkpoint, ...]
    """Those with a good signature, of the database and of the file, by number."""
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]


def check_checkpoints(
    stored: Sequence[Checkpoint], filed: tuple[list[Checkpoint], list[int]] | None, keys: PublicKeys
) -> Checked:
    """Check the database's checkpoints and those of the file (None: there is none)."""
    good: dict[tuple[int, str], Checkpoint] = {}
    findings: list[Finding] = []
    previous = NOTHING_BEFORE
    for checkpoint in stored:
        if (problem := _problem(checkpoint, keys)) is not None:
            findings.append(_finding("altered", checkpoint.number, problem, checkpoint.position))
        else:
            good[(checkpoint.number, checkpoint.hash)] = checkpoint
            if checkpoint.previous != previous:
                findings.append(
                    _finding(
                        "dropped",
                        checkpoint.number,
                        "it names another checkpoint before it than the one that is there: one was taken out.",
                    )
                )
        previous = checkpoint.fingerprint()
    if filed is None:
        return Checked(_in_order(good), tuple(findings), (NO_FILE,) if stored else ())
    kept, bad_lines = filed
    findings += [
        _finding("altered", 0, f"line {line} of the file of checkpoints is no checkpoint.") for line in bad_lines
    ]
    findings += _compare(stored, kept, keys)
    good |= {(c.number, c.hash): c for c in kept if _problem(c, keys) is None}
    return Checked(_in_order(good), tuple(findings), ())


def _compare(stored: Sequence[Checkpoint], kept: Sequence[Checkpoint], keys: PublicKeys) -> list[Finding]:
    findings = []
    in_database = {checkpoint.number: checkpoint for checkpoint in stored}
    in_file = {checkpoint.number for checkpoint in kept}
    for checkpoint in kept:
        if (problem := _problem(checkpoint, keys)) is not None:
            findings.append(_finding("altered", checkpoint.number, f"in the file, {problem}", checkpoint.position))
        elif checkpoint.number not in in_database:
            evidence = "the file has it, well signed, and the database has not."
            findings.append(_finding("dropped", checkpoint.number, evidence, checkpoint.position))
        elif in_database[checkpoint.number] != checkpoint:
            evidence = "the database has another one than the file, which is well signed."
            findings.append(_finding("altered", checkpoint.number, evidence, checkpoint.position))
    last = max(in_file, default=0)
    for number in in_database:
        if number < last and number not in in_file:
            evidence = "the database has it and the file, which goes on after it, has not."
            findings.append(_finding("dropped", number, evidence, in_database[number].position))
    return findings


def _problem(checkpoint: Checkpoint, keys: PublicKeys) -> str | None:
    if checkpoint.key_id not in keys:
        return f"it is signed by the key {checkpoint.key_id}, which is none of this installation's."
    if not is_signed(checkpoint, keys):
        return "its signature is not that of what it says."
    return None


def _finding(kind: Kind, number: int, evidence: str, position: str | None = None) -> Finding:
    return Finding(kind, "checkpoint", number, evidence, position)


def _in_order(good: dict[tuple[int, str], Checkpoint]) -> tuple[Checkpoint, ...]:
    return tuple(sorted(good.values(), key=lambda checkpoint: checkpoint.number))
