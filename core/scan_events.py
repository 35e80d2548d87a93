"""What happens to scans, as events. Stream: `qsecure.scan/<scan id>`."""

from typing import ClassVar

from pydantic import Field

from quantum_suite.core.events import EventData
from quantum_suite.core.scans import Scanner, SeverityCounts


class ScanStarted(EventData):
    """Somebody asked for a scan."""

    event_type: ClassVar[str] = "qsecure.scan.started"

    scan: str = Field(description="The scan's id.")
    root: str = Field(description="Real path of what is scanned.")
    scanners: tuple[Scanner, ...] = Field(description="What is looked for.")
    files: int = Field(description="Files selected.")


class ScanResumed(EventData):
    """An interrupted scan goes on."""

    event_type: ClassVar[str] = "qsecure.scan.resumed"

    scan: str = Field(description="The scan's id.")
    files_left: int = Field(description="Files still to do.")


class ScanCompleted(EventData):
    """A scan has dealt with everything it selected."""

    event_type: ClassVar[str] = "qsecure.scan.completed"

    scan: str = Field(description="The scan's id.")
    root: str = Field(description="Real path of what was scanned.")
    counts: SeverityCounts = Field(description="Findings by severity, suppressed ones left out.")
    suppressed: int = Field(description="Findings silenced by a comment in the source.")
    files: int = Field(description="Files dealt with.")
    engines: tuple[str, ...] = Field(description="The engines that ran.")
    not_assessed: int = Field(description="How many kinds of things were not looked at.")
    seconds: float = Field(description="Wall time from the first start to the end.")


SCAN_EVENTS: tuple[type[EventData], ...] = (ScanStarted, ScanResumed, ScanCompleted)
"""Every type, for the registry."""


def scan_stream(scan_id: str) -> str:
    """Return the stream of a scan."""
    return f"qsecure.scan/{scan_id}"
