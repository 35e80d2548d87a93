"""What an engine is about to do, as JSON that a policy and a person can read.

One model over all engines. Secrets are never in it: a secret value reads `[secret]`, a value that is known only
once something else exists reads `[unknown]`. Two plans with the same digest do the same.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

PLAN_SCHEMA = "quantum.infrastructure.plan/1"
"""Names the shape of the JSON; its number grows when a field changes its meaning or goes."""

SECRET = "[secret]"  # noqa: S105 - stands in for secrets
"""What a secret value reads as."""

UNKNOWN = "[unknown]"
"""What a value reads as that is known only once something else exists."""

Operation = Literal["create", "update", "replace", "delete", "same", "read", "import", "refresh"]
"""`read`: looked up and not managed. `import`: taken under management. `refresh`: state brought up to reality."""

ReplaceOrder = Literal["create_before_delete", "delete_before_create"]
EnforcementLevel = Literal["advisory", "mandatory", "remediate", "disabled"]
PlanKind = Literal["update", "destroy", "refresh", "import"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PropertyChange(_Model):
    """A property that will differ."""

    path: str = Field(description="Where, as in tags.owner or rules[0].port.")
    kind: Literal["add", "delete", "update"] = Field(description="What happens to it.")
    old: Any = Field(default=None, description="The value in the state; [secret] where it is one.")
    new: Any = Field(default=None, description="The value to be; [secret] or [unknown] where it is that.")
    forces_replacement: bool = Field(default=False, description="Whether the resource is replaced because of it.")


class ReplacementReason(_Model):
    """Why a resource is replaced rather than updated."""

    key: str = Field(description="The property to blame; empty where it is no property.")
    why: str = Field(description="In words.")


class PlannedStep(_Model):
    """One resource, and what is done with it."""

    urn: str = Field(description="Names the resource within all stacks.")
    type: str = Field(description="The resource's type token.")
    name: str = Field(description="The resource's logical name.")
    operation: Operation = Field(description="What is done.")
    custom: bool = Field(default=True, description="False for a component, which only groups others.")
    id: str = Field(default="", description="The provider's id; empty before it exists.")
    provider: str = Field(default="", description="URN of the provider that does it; empty for a component.")
    parent: str = Field(default="", description="URN of the resource it belongs to; empty for the root.")
    dependencies: tuple[str, ...] = Field(default=(), description="URNs it needs.")
    inputs: Mapping[str, Any] = Field(default={}, description="Its properties as they will be; secrets masked.")
    inputs_digest: str = Field(default="", description="Keyed digest of the properties, secrets included.")
    changes: tuple[PropertyChange, ...] = Field(default=(), description="What differs from the state.")
    replace_order: ReplaceOrder | None = Field(default=None, description="For a replacement: what comes first.")
    replacement_reasons: tuple[ReplacementReason, ...] = Field(default=(), description="Why it is replaced.")
    protected: bool = Field(default=False, description="Whether it may not be deleted.")
    retained: bool = Field(default=False, description="Whether it stays in the world when it leaves the stack.")
    blast_radius: tuple[str, ...] = Field(
        default=(), description="URNs of all that depends on it, directly or through others, where it changes."
    )


class Drift(_Model):
    """A resource that is not as the state says."""

    urn: str = Field(description="Names the resource.")
    type: str = Field(description="Its type token.")
    name: str = Field(description="Its logical name.")
    id: str = Field(default="", description="The provider's id.")
    kind: Literal["changed", "missing"] = Field(description="Changed in the world, or gone from it.")
    changes: tuple[PropertyChange, ...] = Field(default=(), description="Old: the state; new: the world.")


class PolicyVerdict(_Model):
    """What a rule objects to."""

    pack: str = Field(description="The policy pack the rule is from.")
    rule: str = Field(description="The rule.")
    level: EnforcementLevel = Field(description="Mandatory ones keep a plan from being applied.")
    message: str = Field(description="What is wrong, for a person.")
    urn: str = Field(default="", description="The resource concerned; empty for the stack as a whole.")
    severity: Literal["", "low", "medium", "high", "critical"] = Field(default="", description="As the pack says.")


class Problem(_Model):
    """Why a plan cannot be applied as it is."""

    code: str = Field(description="Stable: protected, pending_create, policy, duplicate_urn, program, provider.")
    message: str = Field(description="What is wrong and what would help.")
    urn: str = Field(default="", description="The resource concerned, if one is.")


class Plan(_Model):
    """Everything that will be done to one stack, and everything that decides it."""

    schema_version: str = Field(default=PLAN_SCHEMA, description="The shape of this JSON.")
    kind: PlanKind = Field(description="Whether the stack is brought to its program, or destroyed, or re-read.")
    engine: str = Field(description="The engine that made it.")
    engine_version: str = Field(default="", description="Its version.")
    project: str = Field(description="The project's name.")
    stack: str = Field(description="The stack's name.")
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC), description="Not in the digest.")
    state_serial: int = Field(description="Which state it starts from: counts every write of the state.")
    source_digest: str = Field(default="", description="SHA-256 of the program's files.")
    config_digest: str = Field(default="", description="Keyed digest of the configuration, secrets included.")
    config: Mapping[str, str] = Field(default={}, description="The configuration, secrets masked.")
    options: Mapping[str, Any] = Field(default={}, description="Targets, refresh and the like, as asked for.")
    steps: tuple[PlannedStep, ...] = Field(default=(), description="In the order the engine met them.")
    drift: tuple[Drift, ...] = Field(default=(), description="Where the world differs from the state, if read.")
    verdicts: tuple[PolicyVerdict, ...] = Field(default=(), description="What policies object to.")
    problems: tuple[Problem, ...] = Field(default=(), description="Why it cannot be applied; empty when it can.")
    outputs: Mapping[str, Any] = Field(default={}, description="The stack's outputs to be, secrets masked.")
    messages: tuple[str, ...] = Field(default=(), description="What program and providers said, secrets masked.")
    digest: str = Field(default="", description="SHA-256 over all that decides what is run: what is approved.")

    @property
    def counts(self) -> dict[str, int]:
        """Return how many steps there are of each operation."""
        return dict(Counter(step.operation for step in self.steps))

    @property
    def changes(self) -> tuple[PlannedStep, ...]:
        """Return the steps that change something."""
        return tuple(step for step in self.steps if step.operation not in ("same", "read"))

    @property
    def applicable(self) -> bool:
        """Return whether it may be applied: no problem, and no mandatory verdict against it."""
        return not self.problems and not any(verdict.level == "mandatory" for verdict in self.verdicts)

    def with_verdicts(self, verdicts: tuple[PolicyVerdict, ...]) -> "Plan":
        """Return the plan with further verdicts. They are not in the digest: they judge it, and are asked anew."""
        return self.model_copy(update={"verdicts": (*self.verdicts, *verdicts)})
