"""What watches over metrics found, as events. Stream: `qsre.watch/<watch id>`."""

from typing import ClassVar

from pydantic import Field

from quantum_suite.core.events import EventData


class AnomalyDetected(EventData):
    """A watched series does what it has not done before. Told once for each anomaly."""

    event_type: ClassVar[str] = "qsre.anomaly.detected"

    watch: str = Field(description="The watch's id.")
    name: str = Field(description="What its owner calls the watch.")
    source: str = Field(description="The source of metrics.")
    query: str = Field(description="What is watched, in PromQL.")
    series: str = Field(description="The series, by its labels.")
    at: float = Field(description="Unix seconds of the point that raised it.")
    since: float = Field(description="Unix seconds since when points have been strange.")
    value: float = Field(description="What came.")
    expected_low: float = Field(description="5th percentile of like points in the past.")
    expected_high: float = Field(description="95th percentile of like points in the past.")
    score: float = Field(description="Within 0 and 1.")
    strength: float = Field(description="How many times as strange as the strangest points before.")
    reasons: tuple[str, ...] = Field(description="The detectors that saw it and what they saw, strongest first.")


class WatchSourceLost(EventData):
    """A watch cannot see: its source is away, or refuses its query. Told once until it can see again."""

    event_type: ClassVar[str] = "qsre.watch.source_lost"

    watch: str = Field(description="The watch's id.")
    name: str = Field(description="What its owner calls the watch.")
    source: str = Field(description="The source of metrics.")
    problem: str = Field(description="What the source, or the way to it, said.")


class WatchSourceFound(EventData):
    """A watch sees again."""

    event_type: ClassVar[str] = "qsre.watch.source_found"

    watch: str = Field(description="The watch's id.")
    name: str = Field(description="What its owner calls the watch.")
    source: str = Field(description="The source of metrics.")


ANOMALY_EVENTS: tuple[type[EventData], ...] = (AnomalyDetected, WatchSourceLost, WatchSourceFound)
"""Every type, for the registry."""


def watch_stream(watch: str) -> str:
    """Return the stream of a watch."""
    return f"qsre.watch/{watch}"
