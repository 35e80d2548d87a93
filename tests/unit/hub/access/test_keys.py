"""What a key's record says of it."""

from datetime import UTC, datetime, timedelta

import pytest

from quantum_suite.core.principals import Role
from quantum_suite.hub.access.keys import KeyRecord

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("expires_at", "revoked_at", "active"),
    [
        (None, None, True),
        (NOW + HOUR, None, True),
        (NOW - HOUR, None, False),
        (None, NOW, False),
        (NOW + HOUR, NOW, False),
    ],
)
def test_a_key_is_active_until_it_expires_or_is_revoked(
    expires_at: datetime | None, revoked_at: datetime | None, active: bool
) -> None:
    record = KeyRecord("id", "ci", frozenset({Role.VIEWER}), None, NOW - HOUR, expires_at, revoked_at)
    assert record.active is active
