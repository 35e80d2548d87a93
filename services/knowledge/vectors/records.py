"""What every store asks of the records it is given."""

import math
from collections.abc import Sequence

from quantum_suite.core.errors import CallerError
from quantum_suite.services.knowledge.interface import VectorRecord


def check_lengths(collection: str, records: Sequence[VectorRecord], known: int | None) -> None:
    """Raise CallerError unless all vectors are finite, not zero, and of one length, that of the collection."""
    for record in records:
        known = known or len(record.vector)
        if len(record.vector) != known:
            raise CallerError(
                f"A vector of {len(record.vector)} numbers does not fit {collection}, which has {known} each.",
                "Use another collection for another model.",
                argument="records",
            )
        length = math.hypot(*record.vector)
        if not length or not math.isfinite(length):
            raise CallerError(
                f"The vector of {record.id} has no direction: it is zero, or holds what is no number.",
                "Embed the text again.",
                argument="records",
            )


def latest(records: Sequence[VectorRecord]) -> list[VectorRecord]:
    """Return the records with each id once: the last one given."""
    return list({record.id: record for record in records}.values())
