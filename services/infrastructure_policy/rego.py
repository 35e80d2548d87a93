"""Judges plans and states by Rego packs, in a process that is ended when it takes too long or too much."""

import importlib.util
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio.to_thread

from quantum_suite.core.errors import EngineError, EngineMissing
from quantum_suite.services.infrastructure.interface import Deployment
from quantum_suite.services.infrastructure.plan import SECRET, UNKNOWN, Plan, PolicyVerdict
from quantum_suite.services.infrastructure.values import shown
from quantum_suite.services.infrastructure_policy.exceptions import read_exceptions
from quantum_suite.services.infrastructure_policy.packs import Pack, packs_of
from quantum_suite.services.infrastructure_policy.worker import (
    MEMORY_BYTES,
    NO_ENGINE_STATUS,
    TOO_MUCH_MEMORY_STATUS,
)
from quantum_suite.services.process import run
from quantum_suite.services.process_group import ProcessError

WORKER: Final = "quantum_suite.services.infrastructure_policy.worker"
INSTALL_COMMAND: Final = "pip install 'quantum-suite[infra]'"
_SECONDS = 30.0
_MOST_OUTPUT = 16 * 1024 * 1024
_MOST_VERDICTS = 2_000
_LIBRARY = "pulumi-python:dynamic/"


@dataclass(frozen=True, slots=True)
class RegoPolicyCheck:
    """The shipped pack and the project's own, with the project's exceptions."""

    seconds: float = _SECONDS
    name: str = "rego"

    async def check(self, plan: Plan, folder: Path) -> Sequence[PolicyVerdict]:
        """Return what is objected to in a plan.

        Raises CallerError for a broken pack or exceptions file, EngineMissing without `regopy`, and EngineError
        for a pack that fails or does not end: a plan nobody could judge is not applied.
        """
        if plan.kind == "destroy":
            return ()
        return await self.judged(plan_resources(plan), plan.project, plan.stack, folder)

    async def check_state(self, state: Deployment, folder: Path) -> Sequence[PolicyVerdict]:
        """Return what is objected to in a stack as its state has it; raises as `check` does."""
        return await self.judged(state_resources(state), state.project, state.stack, folder)

    async def judged(
        self,
        resources: Sequence[Mapping[str, Any]],
        project: str,
        stack: str,
        folder: Path,
        only: Sequence[str] = (),
    ) -> list[PolicyVerdict]:
        """Judge resources; `only` names the packs to ask."""
        packs = [
            pack for pack in await anyio.to_thread.run_sync(packs_of, folder) if not only or pack.name in only
        ]
        exceptions = await anyio.to_thread.run_sync(read_exceptions, folder)
        if importlib.util.find_spec("regopy") is None:
            raise _missing()
        document = {"project": project, "stack": stack, "resources": list(resources)}
        answers = await self._evaluated(packs, document)
        known = {str(one["urn"]) for one in resources}
        verdicts = [verdict for pack in packs for verdict in _verdicts(pack, answers.get(pack.name, {}), known)]
        return exceptions.applied(verdicts)

    async def _evaluated(self, packs: Sequence[Pack], document: Mapping[str, Any]) -> dict[str, Any]:
        order = {
            "input": document,
            "packs": {
                pack.name: {"package": pack.description.package, "modules": dict(pack.modules)} for pack in packs
            },
        }
        try:
            done = await run(
                [sys.executable, "-m", WORKER],
                stdin=json.dumps(order).encode(),
                timeout_seconds=self.seconds,
                max_output_bytes=_MOST_OUTPUT,
            )
        except ProcessError as error:
            named = ", ".join(pack.name for pack in packs)
            raise EngineError(
                f"The policies ({named}) did not come to an end: {error}",
                "Look for recursion without end in the packs below `policies`.",
                engine="regopy",
            ) from error
        if done.returncode == NO_ENGINE_STATUS:
            raise _missing()
        if done.returncode:
            why = f"they ended with status {done.returncode}"
            if done.returncode == TOO_MUCH_MEMORY_STATUS:
                why = f"they took more than {MEMORY_BYTES // 2**20} MiB of memory"
            raise EngineError(
                f"The policies did not come to an end: {why}.",
                "Look at the packs below `policies`.",
                engine="regopy",
                printed=done.stderr_tail,
            )
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


def plan_resources(plan: Plan) -> list[dict[str, Any]]:
    """Return a plan's resources as policies see them: as they will be."""
    return [
        _resource(step.urn, step.type, step.name, step.operation, dict(step.inputs))
        for step in plan.steps
        if step.custom and step.operation != "delete" and not step.type.startswith("pulumi:")
    ]


def state_resources(state: Deployment) -> list[dict[str, Any]]:
    """Return a state's resources as policies see them; secrets masked."""
    return [
        _resource(one.urn, one.type, one.name, "same", shown(one.inputs, SECRET, UNKNOWN))
        for one in state.resources
        if one.custom and not one.delete and not one.external and not one.type.startswith("pulumi:")
    ]


def _resource(urn: str, kind: str, name: str, operation: str, properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "urn": urn,
        "type": kind,
        # The library's types without what Pulumi puts before every dynamic one.
        "kind": kind.removeprefix(_LIBRARY),
        "name": name,
        "operation": operation,
        "properties": properties,
    }


def _verdicts(pack: Pack, answer: Mapping[str, Any], known: set[str]) -> list[PolicyVerdict]:
    if "violations" not in answer:
        raise EngineError(
            f"The policy pack {pack.name} failed: {answer.get('error', 'it answered nothing')}",
            f"Its package {pack.description.package} needs a set `violation`; mend the pack.",
            engine="regopy",
        )
    found: list[PolicyVerdict] = []
    for one in answer["violations"]:
        rule = pack.description.rules.get(str(one.get("rule"))) if isinstance(one, dict) else None
        if rule is None:
            raise EngineError(
                f"The policy pack {pack.name} has a rule that pack.yaml does not describe: {str(one)[:200]}",
                "Describe every rule in pack.yaml.",
                engine="regopy",
            )
        if rule.enforcement == "disabled":
            continue
        urn = str(one.get("urn", ""))
        told = str(one.get("message") or rule.title)[:500]
        found.append(
            PolicyVerdict(
                pack=pack.name,
                rule=str(one["rule"]),
                level=rule.enforcement,
                message=f"{told} {rule.remediation}".strip(),
                urn=urn if urn in known else "",
                severity=rule.severity,
            )
        )
    ranks = {"critical": 0, "high": 1, "medium": 2, "low": 3}
    found.sort(
        key=lambda one: (one.level != "mandatory", ranks.get(one.severity, 4), one.rule, one.urn, one.message)
    )
    # Mandatory ones come first, so that no cut lets a plan pass.
    return found[:_MOST_VERDICTS]


def _missing() -> EngineMissing:
    return EngineMissing(
        "regopy is not installed, so no policy can be judged.",
        f"Install it with `{INSTALL_COMMAND}`.",
        engine="regopy",
    )
