"""Exceptions: which rule does not hold for which resource, why, and until when."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from quantum_suite.core.errors import CallerError
from quantum_suite.services.infrastructure.plan import PolicyVerdict

EXCEPTIONS_FILE: Final = "policy-exceptions.yaml"
_MOST_BYTES = 256 * 1024


class PolicyException(BaseModel):
    """One entry of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: str = Field(description="The rule's id, or pack/rule.", min_length=1)
    resource: str = Field(
        description="The resource's logical name or URN; * and ? stand for anything.", min_length=1
    )
    reason: str = Field(description="Why, for whoever reads a plan.", min_length=10)
    expires: date = Field(description="The last day it holds.")


@dataclass(frozen=True, slots=True)
class Exceptions:
    """What a project's file says."""

    entries: Sequence[PolicyException] = ()

    def applied(self, verdicts: Sequence[PolicyVerdict], today: date | None = None) -> list[PolicyVerdict]:
        """Return the verdicts; an excepted one stays, as an advice that names reason and expiry.

        One whose exception has expired is what it was, and says so.
        """
        now = today or datetime.now(UTC).date()
        return [self._applied(verdict, now) for verdict in verdicts]

    def _applied(self, verdict: PolicyVerdict, today: date) -> PolicyVerdict:
        meant = [entry for entry in self.entries if _means(entry, verdict)]
        if not meant:
            return verdict
        longest = max(meant, key=lambda entry: entry.expires)
        if longest.expires < today:
            words = f"{verdict.message} (Its exception expired on {longest.expires}.)"
            return verdict.model_copy(update={"message": words})
        words = f"{verdict.message} (Excepted until {longest.expires}: {longest.reason})"
        return verdict.model_copy(update={"message": words, "level": "advisory"})


def read_exceptions(folder: Path) -> Exceptions:
    """Read a project's exceptions; none where there is no file. Raises CallerError naming the broken entry."""
    path = folder / EXCEPTIONS_FILE
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise _wrong(f"it is larger than {_MOST_BYTES} bytes")
        document: Any = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Exceptions()
    except (YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise _wrong(f"it is no YAML: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get("exceptions"), list):
        raise _wrong("it has no list `exceptions`")
    entries = []
    for number, entry in enumerate(document["exceptions"], start=1):
        try:
            entries.append(PolicyException.model_validate(entry))
        except ValidationError as error:
            first = error.errors()[0]
            raise _wrong(f"entry {number}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    return Exceptions(entries)


def _means(entry: PolicyException, verdict: PolicyVerdict) -> bool:
    if entry.rule not in (verdict.rule, f"{verdict.pack}/{verdict.rule}"):
        return False
    name = verdict.urn.rpartition("::")[2]
    return fnmatchcase(verdict.urn, entry.resource) or fnmatchcase(name, entry.resource)


def _wrong(what: str) -> CallerError:
    return CallerError(
        f"{EXCEPTIONS_FILE} cannot be used: {what}.",
        "Each entry of `exceptions` has rule, resource, reason (ten letters at least) and expires (a date).",
        argument="folder",
    )
