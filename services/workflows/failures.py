"""What is kept of an error that ended a step or a run."""

import logging

from quantum_suite.core.errors import SuiteError
from quantum_suite.core.ids import new_id
from quantum_suite.services.workflows.interface import Failure, StepFailed

_log = logging.getLogger(__name__)


def failure_of(error: BaseException, where: str) -> Failure:
    """Return what people may read of an error. One from outside the tree is logged, and named by its id alone."""
    if isinstance(error, StepFailed):
        return error.failure
    if isinstance(error, SuiteError):
        return Failure(error.code, error.message, error.hint)
    error_id = new_id("err")
    _log.error("%s failed: %s", where, error_id, exc_info=error)
    return Failure("internal_error", f"{where} failed for a reason of its own ({error_id}).", "The log says more.")


def worth_retrying(error: Exception) -> bool:
    """Whether the same work may succeed when it is done again: what the tree calls final stays so."""
    return error.retryable if isinstance(error, SuiteError) else True
