"""Writes down, step by step, what a run does or would do: the plan comes out of it."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any

from quantum_suite.services.infrastructure.embedded.masks import Masks
from quantum_suite.services.infrastructure.interface import ResourceState
from quantum_suite.services.infrastructure.plan import (
    SECRET,
    Drift,
    Operation,
    PlannedStep,
    PolicyVerdict,
    Problem,
    PropertyChange,
    ReplacementReason,
    ReplaceOrder,
)
from quantum_suite.services.infrastructure.values import (
    absent,
    canonical,
    covers,
    differing_paths,
    is_secret,
    plain,
)


class Recorder:
    """Collects steps, drift, verdicts, problems and messages; none holds a secret's value."""

    def __init__(self, masks: Masks, key: bytes) -> None:
        """`key` keys the digests of inputs, so that a secret cannot be guessed from one."""
        self.masks = masks
        self.steps: dict[str, PlannedStep] = {}
        self.inputs: dict[str, Mapping[str, Any]] = {}
        """By URN, the inputs of each step as they are: what a run is held to."""
        self.drift: list[Drift] = []
        self.verdicts: list[PolicyVerdict] = []
        self.problems: list[Problem] = []
        self.messages: list[str] = []
        self.failures: list[tuple[str, str]] = []
        self._key = key

    def step(
        self,
        operation: Operation,
        new: ResourceState,
        old: ResourceState | None,
        *,
        replaces: Sequence[tuple[str, str]] = (),
        order: ReplaceOrder | None = None,
    ) -> PlannedStep:
        """Write a step down; `replaces` are keys and why they force a replacement."""
        before = old.inputs if old is not None else {}
        gone = operation == "delete"
        changes = () if old is None or gone else self.changes(before, new.inputs, [key for key, _ in replaces])
        self.masks.learn(new.inputs)
        self.masks.learn(new.outputs)
        step = PlannedStep(
            urn=new.urn,
            type=new.type,
            name=new.name,
            operation=operation,
            custom=new.custom,
            # A new provider's id is drawn at random, and would make every plan another.
            id=old.id if old is not None else "" if operation == "create" else new.id,
            provider=new.provider.rpartition("::")[0],
            parent=new.parent,
            dependencies=tuple(sorted(new.dependencies)),
            inputs={} if gone else self.masks.shown(new.inputs),
            inputs_digest="" if gone else self.digest(new.inputs),
            changes=changes,
            replace_order=order,
            replacement_reasons=tuple(ReplacementReason(key=key, why=why) for key, why in replaces),
            protected=new.protect,
            retained=new.retain_on_delete,
        )
        key = f"{new.urn}\n{new.id}" if new.delete else new.urn
        self.steps[key] = step
        self.inputs[key] = new.inputs
        return step

    def changes(
        self, old: Mapping[str, Any], new: Mapping[str, Any], replacing: Sequence[str] = ()
    ) -> tuple[PropertyChange, ...]:
        """Return what differs, as a person may see it."""
        told = []
        for path, before, after in differing_paths(old, new):
            if path.startswith("__"):
                if path == "__provider":
                    told.append(
                        PropertyChange(
                            path="__provider", kind="update", old="[its code]", new="[its code, changed]"
                        )
                    )
                continue
            hidden = is_secret(before) or is_secret(after)
            told.append(
                PropertyChange(
                    path=path,
                    kind="add" if absent(before) else "delete" if absent(after) else "update",
                    old=None if absent(before) else SECRET if hidden else self.masks.shown(before),
                    new=None if absent(after) else SECRET if hidden else self.masks.shown(after),
                    forces_replacement=any(covers(key, path) for key in replacing if key),
                )
            )
        return tuple(told)

    def digest(self, inputs: Mapping[str, Any]) -> str:
        """Return the keyed digest of inputs, secrets included; what a provider's code is does not count, because
        the digest of the sources covers it."""
        known = {key: value for key, value in plain(inputs).items() if not key.startswith("__")}
        return hmac.digest(self._key, canonical(known), hashlib.sha256).hex()

    def drifted(self, old: ResourceState, outputs: Mapping[str, Any] | None) -> bool:
        """Write down how a resource differs from the state (None: it is gone); returns whether it does."""
        found = () if outputs is None else self.changes(old.outputs, outputs)
        changes = tuple(change for change in found if not change.path.startswith("__"))
        if outputs is not None and not changes:
            return False
        self.drift.append(
            Drift(
                urn=old.urn,
                type=old.type,
                name=old.name,
                id=old.id,
                kind="missing" if outputs is None else "changed",
                changes=changes,
            )
        )
        return True

    def problem(self, code: str, message: str, urn: str = "") -> None:
        """Write down why this cannot be applied."""
        self.problems.append(Problem(code=code, message=self.masks.masked(message), urn=urn))

    def unsettled(self, resource: ResourceState) -> None:
        """Write down that nobody knows what became of an interrupted creation."""
        self.problem(
            "pending_create",
            f"Creating {resource.name} ({resource.type}) was interrupted, and its provider cannot say whether it "
            "exists. Look, then answer in `pending` with its id, or with absent.",
            resource.urn,
        )

    def message(self, text: str) -> None:
        """Write down what program or provider said; the first hundred."""
        if len(self.messages) < 100:
            self.messages.append(self.masks.masked(text)[:2_000])

    def failed(self, urn: str, message: str) -> None:
        """Write down what failed."""
        self.failures.append((urn, self.masks.masked(message)[:4_000]))
