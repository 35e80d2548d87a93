"""What the tools that compare and judge answer."""

from mcp_types import CallToolResult, ResourceLink
from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.servers.qinfra.answers import NAMED, PLAN_TEMPLATE, tool_result
from quantum_suite.services.infrastructure.plan import Drift, Plan, PolicyVerdict
from quantum_suite.tools.qinfra.check_policy import Judgement
from quantum_suite.tools.qinfra.list_resources import Managed, Unmanaged

_MOST = 500
"""Resources in an answer."""


class ManagedResource(BaseModel):
    """A resource of the stack."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    urn: str = Field(description="Names it within all stacks.")
    type: str = Field(description="Its type token.")
    name: str = Field(description="Its logical name.")
    id: str = Field(description="The provider's id.")
    protected: bool = Field(description="Whether it may not be deleted.")


class UnmanagedResource(BaseModel):
    """A resource that no stack knows."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    type: str = Field(description="Its type in the library of AWS resources.")
    id: str = Field(description="Its id, as import_resource takes it.")
    name: str = Field(description="What it is called; empty where it has no name.")
    arn: str = Field(description="Its ARN; empty where the listing does not have it.")


class UnmanagedAnswer(BaseModel):
    """What no stack knows."""

    model_config = ConfigDict(frozen=True)

    resources: tuple[UnmanagedResource, ...] = Field(description="The first 500 of them.")
    total: int = Field(description="How many there are.")
    account_resources: int = Field(description="How many resources of the types asked for were found in all.")
    not_listed: dict[str, str] = Field(description="Types that could not be listed, and why.")
    cut: tuple[str, ...] = Field(description="Types of which there are more than were listed.")
    unread_stacks: tuple[str, ...] = Field(description="Damaged stacks: what they manage counts as unmanaged.")


class ResourcesAnswer(BaseModel):
    """What a stack manages, and what none does."""

    model_config = ConfigDict(frozen=True)

    managed: tuple[ManagedResource, ...] = Field(description="The first 500 resources of the stack.")
    managed_total: int = Field(description="How many the stack has.")
    unmanaged: UnmanagedAnswer | None = Field(description="What no stack knows; null unless asked for.")


class DriftAnswer(BaseModel):
    """Where the world differs from the state."""

    model_config = ConfigDict(frozen=True)

    in_sync: bool = Field(description="Whether there is no drift.")
    drift: tuple[Drift, ...] = Field(description="The first 500 resources that are not as the state says.")
    drift_total: int = Field(description="How many there are.")
    accept_digest: str = Field(description="For reconcile with direction to_cloud.")
    plan: str = Field(description="URI of the plan that would accept it all.")
    unmanaged: UnmanagedAnswer | None = Field(description="What no stack knows; null unless asked for.")


class PolicyAnswer(BaseModel):
    """What policies object to."""

    model_config = ConfigDict(frozen=True)

    passes: bool = Field(description="Whether nothing mandatory is violated.")
    judged: str = Field(description="plan or state.")
    resources: int = Field(description="How many resources were judged.")
    packs: tuple[str, ...] = Field(description="The packs that were asked.")
    mandatory: int = Field(description="Verdicts that keep a plan from being applied.")
    advisory: int = Field(description="Verdicts that do not.")
    verdicts: tuple[PolicyVerdict, ...] = Field(description="The first 500, mandatory and severe ones first.")


def resources_answer(managed: list[Managed], others: Unmanaged | None) -> CallToolResult:
    """Return the answer of list_resources."""
    answer = ResourcesAnswer(
        managed=tuple(ManagedResource.model_validate(one) for one in managed[:_MOST]),
        managed_total=len(managed),
        unmanaged=_unmanaged(others),
    )
    lines = [
        f"The stack manages {len(managed)} resources.",
        *(f"- {one.name} ({one.type}): {one.id}" for one in managed[:NAMED]),
        *_more(len(managed)),
        *_unmanaged_lines(others),
    ]
    return tool_result(answer, lines)


def drift_answer(plan: Plan, others: Unmanaged | None) -> CallToolResult:
    """Return the answer of detect_drift."""
    uri = PLAN_TEMPLATE.format(digest=plan.digest)
    answer = DriftAnswer(
        in_sync=not plan.drift,
        drift=plan.drift[:_MOST],
        drift_total=len(plan.drift),
        accept_digest=plan.digest,
        plan=uri,
        unmanaged=_unmanaged(others),
    )
    if plan.drift:
        lines = [f"{len(plan.drift)} resources of {plan.project}/{plan.stack} are not as the state says:"]
        lines += [_drift_line(one) for one in plan.drift[:NAMED]]
        lines += _more(len(plan.drift))
        lines.append(
            "To undo this: preview_stack with refresh=true, then reconcile to_program with its digest. "
            f"To accept it: reconcile to_cloud with plan_digest {plan.digest}."
        )
    else:
        lines = [f"{plan.project}/{plan.stack} is as its state says."]
    lines += _unmanaged_lines(others)
    link = ResourceLink(
        uri=f"{uri}/markdown", name="Drift for reading", mime_type="text/markdown", description="Every difference."
    )
    return tool_result(answer, lines, link)


def policy_answer(judgement: Judgement) -> CallToolResult:
    """Return the answer of check_policy."""
    mandatory = sum(one.level == "mandatory" for one in judgement.verdicts)
    answer = PolicyAnswer(
        passes=judgement.passes,
        judged=judgement.judged,
        resources=judgement.resources,
        packs=tuple(judgement.packs),
        mandatory=mandatory,
        advisory=len(judgement.verdicts) - mandatory,
        verdicts=tuple(judgement.verdicts[:_MOST]),
    )
    lines = [
        f"{judgement.resources} resources of the {judgement.judged}, judged by {', '.join(judgement.packs)}: "
        f"{mandatory} mandatory and {answer.advisory} advisory objections.",
        *(f"- {one.level}, {one.severity}: {one.rule}: {one.message}" for one in judgement.verdicts[:NAMED]),
        *_more(len(judgement.verdicts)),
    ]
    return tool_result(answer, lines)


def _drift_line(one: Drift) -> str:
    if one.kind == "missing":
        return f"- {one.name} ({one.type}) is gone: {one.id}"
    paths = ", ".join(change.path for change in one.changes[:5])
    more = f" and {len(one.changes) - 5} more" if len(one.changes) > 5 else ""
    return f"- {one.name} ({one.type}) differs: {paths}{more}"


def _unmanaged(others: Unmanaged | None) -> UnmanagedAnswer | None:
    if others is None:
        return None
    return UnmanagedAnswer(
        resources=tuple(UnmanagedResource.model_validate(one) for one in others.items[:_MOST]),
        total=len(others.items),
        account_resources=others.counted,
        not_listed=dict(others.not_listed),
        cut=tuple(others.cut),
        unread_stacks=tuple(others.unread),
    )


def _unmanaged_lines(others: Unmanaged | None) -> list[str]:
    if others is None:
        return []
    return [
        f"{len(others.items)} of {others.counted} resources in the account are known to no stack.",
        *(f"- {one.type} {one.name or one.id}" for one in others.items[:NAMED]),
        *_more(len(others.items)),
        *(f"Not listed: {kind} ({why})" for kind, why in others.not_listed.items()),
        *(f"There are more {kind} than were listed." for kind in others.cut),
    ]


def _more(total: int) -> list[str]:
    return [f"- and {total - NAMED} more"] if total > NAMED else []
