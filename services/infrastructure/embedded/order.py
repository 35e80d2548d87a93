"""What the engine asks its worker for, and what the worker answers: JSON, a line each."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from quantum_suite.core.errors import (
    CallerError,
    Conflict,
    Damaged,
    EngineError,
    EngineMissing,
    SuiteError,
    Unavailable,
)
from quantum_suite.services.encryption.interface import DataKey
from quantum_suite.services.infrastructure.interface import ImportRequest, RunOutcome, StackRef, StackRequest
from quantum_suite.services.infrastructure.plan import Plan

_CODES: Mapping[str, type[SuiteError]] = {
    kind.code: kind for kind in (CallerError, Conflict, Damaged, EngineError, EngineMissing, Unavailable)
}


@dataclass(frozen=True, slots=True)
class Order:
    """One run of a worker."""

    verb: str
    """preview, up, destroy, refresh or import."""
    kind: str
    """Of what a preview is: update, destroy, refresh or import."""
    request: StackRequest
    keys: tuple[DataKey, ...]
    """The newest last."""
    state_dir: Path
    digest: str = ""
    program_network: bool = False
    approved: Mapping[str, Any] | None = None
    """The approved plan's JSON, where it is known: to say what differs."""

    def as_json(self) -> dict[str, Any]:
        """Return what goes to the worker; it holds secrets."""
        request = asdict(self.request)
        request["ref"]["folder"] = str(self.request.ref.folder)
        request["secret_config"] = sorted(self.request.secret_config)
        request["policy_packs"] = [str(folder) for folder in self.request.policy_packs]
        return {
            "verb": self.verb,
            "kind": self.kind,
            "request": request,
            "keys": [[key.id, key.secret.hex()] for key in self.keys],
            "state_dir": str(self.state_dir),
            "digest": self.digest,
            "program_network": self.program_network,
            "approved": self.approved,
        }


def order_of(body: Mapping[str, Any]) -> Order:
    """Return the order that JSON says."""
    given = dict(body["request"])
    given["ref"] = StackRef(Path(given["ref"]["folder"]), given["ref"]["stack"])
    given["secret_config"] = frozenset(given["secret_config"])
    given["targets"] = tuple(given["targets"])
    given["policy_packs"] = tuple(map(Path, given["policy_packs"]))
    given["import_"] = ImportRequest(**given["import_"]) if given["import_"] else None
    return Order(
        verb=body["verb"],
        kind=body["kind"],
        request=StackRequest(**given),
        keys=tuple(DataKey(key_id, bytes.fromhex(secret)) for key_id, secret in body["keys"]),
        state_dir=Path(body["state_dir"]),
        digest=body["digest"],
        program_network=body["program_network"],
        approved=body["approved"],
    )


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker ends with."""

    plan: Plan | None = None
    outcome: RunOutcome | None = None


def answer_to_json(answer: Answer) -> dict[str, Any]:
    """Return an answer as JSON."""
    body: dict[str, Any] = {}
    if answer.plan is not None:
        body["plan"] = answer.plan.model_dump(mode="json")
    if answer.outcome is not None:
        outcome = answer.outcome
        body["outcome"] = {
            "plan": outcome.plan.model_dump(mode="json"),
            "state": outcome.state,
            "done": dict(outcome.done),
            "failures": [list(pair) for pair in outcome.failures],
            "pending": list(outcome.pending),
            "outputs": dict(outcome.outputs),
            "messages": list(outcome.messages),
            "serial": outcome.serial,
        }
    return body


def answer_of(body: Mapping[str, Any]) -> Answer:
    """Return the answer that JSON says."""
    if "plan" in body:
        return Answer(plan=Plan.model_validate(body["plan"]))
    given = dict(body["outcome"])
    given["plan"] = Plan.model_validate(given["plan"])
    given["failures"] = [(urn, message) for urn, message in given["failures"]]
    return Answer(outcome=RunOutcome(**given))


def error_to_json(error: SuiteError) -> dict[str, Any]:
    """Return an error as JSON."""
    return {
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "argument": getattr(error, "argument", None),
        "engine": getattr(error, "engine", "pulumi"),
        "printed": getattr(error, "printed", ""),
    }


def error_of(body: Mapping[str, Any]) -> SuiteError:
    """Return the error that JSON says."""
    kind = _CODES.get(body["code"], EngineError)
    message, hint = body["message"], body["hint"]
    if issubclass(kind, CallerError):
        return kind(message, hint, argument=body["argument"])
    if issubclass(kind, EngineError):
        return kind(message, hint, engine=body["engine"], printed=body["printed"])
    return kind(message, hint)
