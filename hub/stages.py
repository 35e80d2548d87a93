"""The order in which calls pass the stages: every list of them there is."""

from dataclasses import dataclass

from quantum_suite.hub.access.authenticator import Authenticator
from quantum_suite.hub.access.authoriser import Authoriser
from quantum_suite.hub.access.owners import Owners
from quantum_suite.hub.call import Stage
from quantum_suite.hub.metrics import Metrics
from quantum_suite.hub.pipeline.accept import AcceptStage
from quantum_suite.hub.pipeline.approval import ApprovalStage
from quantum_suite.hub.pipeline.audit import AuditStage
from quantum_suite.hub.pipeline.authenticate import AuthenticateStage
from quantum_suite.hub.pipeline.authorise import AuthoriseStage
from quantum_suite.hub.pipeline.cache import CacheStage
from quantum_suite.hub.pipeline.deadline import DeadlineStage
from quantum_suite.hub.pipeline.errors import translate_errors
from quantum_suite.hub.pipeline.observe import ObserveStage
from quantum_suite.hub.pipeline.owner import OwnerStage
from quantum_suite.hub.pipeline.rate_limit import RateLimitStage
from quantum_suite.hub.pipeline.resolve import ResolveStage
from quantum_suite.hub.pipeline.sealed_state import StateSeal
from quantum_suite.hub.pipeline.task import TaskStage
from quantum_suite.hub.router import Router
from quantum_suite.hub.settings import Limits
from quantum_suite.services.audit.interface import AuditLog
from quantum_suite.services.limits.interface import RateLimiter


@dataclass(frozen=True, slots=True)
class StageParts:
    """What the stages are made of."""

    limits: Limits
    metrics: Metrics
    audit_log: AuditLog
    authenticator: Authenticator
    owners: Owners
    router: Router
    authoriser: Authoriser
    limiter: RateLimiter
    seal: StateSeal
    cache: CacheStage


def client_stages(parts: StageParts, task: TaskStage) -> list[Stage]:
    """Return what a client's call passes before it is routed, outermost first."""
    return [
        ObserveStage(parts.metrics),
        AuditStage(parts.audit_log),
        translate_errors,
        AuthenticateStage(parts.authenticator),
        ResolveStage(parts.router),
        AuthoriseStage(parts.authoriser),
        RateLimitStage(parts.limits.calls_per_minute, limiter=parts.limiter),
        ApprovalStage(parts.authoriser, parts.seal),
        parts.cache,
        AcceptStage(parts.audit_log),
        task,
        DeadlineStage(parts.limits.call_deadline_seconds),
    ]


def workflow_stages(parts: StageParts) -> list[Stage]:
    """Return what a workflow's call passes: as a client's, with its owner looked up anew, and never a task."""
    return [
        ObserveStage(parts.metrics),
        AuditStage(parts.audit_log),
        translate_errors,
        OwnerStage(parts.owners),
        ResolveStage(parts.router),
        AuthoriseStage(parts.authoriser),
        RateLimitStage(parts.limits.calls_per_minute, limiter=parts.limiter),
        ApprovalStage(parts.authoriser, parts.seal),
        parts.cache,
        AcceptStage(parts.audit_log),
        DeadlineStage(parts.limits.long_call_deadline_seconds),
    ]


def task_stages(parts: StageParts) -> list[Stage]:
    """Return what the work of a task passes: its call was rate limited, approved and accepted when it was made."""
    return [
        AuditStage(parts.audit_log),
        translate_errors,
        OwnerStage(parts.owners),
        ResolveStage(parts.router),
        AuthoriseStage(parts.authoriser),
    ]
