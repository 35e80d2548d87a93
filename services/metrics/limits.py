"""How much one question to a source of metrics may cost."""

import math

from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.errors import CallerError
from quantum_suite.services.metrics.interface import Series, Window

MOST_POINTS_A_SERIES = 11_000
"""What Prometheus itself computes for one series of a range query."""


class SourceLimits(BaseModel):
    """Bounds on one answer. They hold for each question, not for a conversation."""

    model_config = ConfigDict(frozen=True)

    max_bytes: int = Field(default=32 * 1024 * 1024, description="Bytes read of an answer.")
    max_series: int = Field(default=2_000, description="Series in an answer.")
    max_points: int = Field(default=500_000, description="Points of all series in an answer.")
    max_labels: int = Field(default=20_000, description="Label sets or label values in an answer.")
    deadline_seconds: float = Field(default=30, description="Time for an answer, retries included.")
    clock_seconds: float = Field(default=5, description="How far clocks may differ before it is said.")


def check_window(window: Window) -> None:
    """Raise CallerError for a window that cannot be asked for, with one that could."""
    if not all(math.isfinite(number) for number in (window.start, window.end, window.step)):
        raise CallerError("The window is not made of finite numbers.", argument="start")
    if window.end < window.start:
        raise CallerError("The window ends before it begins.", "Exchange start and end.", argument="end")
    if window.step <= 0:
        raise CallerError("The step is not positive.", "Use seconds such as 60.", argument="step")
    if (window.end - window.start) / window.step >= MOST_POINTS_A_SERIES:
        fits = math.ceil((window.end - window.start) / (MOST_POINTS_A_SERIES - 1))
        raise CallerError(
            f"A step of {window.step:g} s gives {window.points} points a series, over {MOST_POINTS_A_SERIES}.",
            f"Use a step of {fits} s or more, or a shorter time.",
            argument="step",
        )


def check_amount(found: list[Series], limits: SourceLimits) -> None:
    """Raise CallerError when an answer holds more than one may."""
    if len(found) > limits.max_series:
        raise too_many_series(limits)
    points = sum(len(series.times) for series in found)
    if points > limits.max_points:
        raise CallerError(
            f"The answer has {points} points in {len(found)} series; {limits.max_points} are the most.",
            f"Use a step at least {math.ceil(points / limits.max_points)} times as long, a shorter time, or "
            "aggregate, e.g. sum by (job) (...).",
            argument="query",
        )


def too_many_series(limits: SourceLimits) -> CallerError:
    """Return the error for an answer of too many series."""
    return CallerError(
        f"The answer has more than {limits.max_series} series.",
        "Select fewer by labels, aggregate (sum by (job) (...)) or take the largest (topk(20, ...)).",
        argument="query",
    )


def too_many_bytes(limits: SourceLimits, argument: str) -> CallerError:
    """Return the error for an answer that was not read to its end."""
    return CallerError(
        f"The answer is longer than {limits.max_bytes // (1024 * 1024)} MiB and was not read to its end.",
        "Ask for less: fewer series (labels, sum by (job) (...), topk), a longer step or a shorter time.",
        argument=argument,
    )
