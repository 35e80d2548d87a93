"""A live server is named without its password, and passwords go to no other server than their own."""

import pytest

from quantum_suite.core.errors import CallerError
from quantum_suite.services.recovery.live_source import credentials_for, parse_source


def test_an_address_is_read_and_shown_without_credentials() -> None:
    server = parse_source("postgresql://re%27ader@db.example:6432/sh%20op?sslmode=verify-full")
    assert (server.host, server.port, server.user, server.database) == ("db.example", 6432, "re'ader", "sh op")
    assert server.shown == "postgresql://re%27ader@db.example:6432/sh%20op"
    assert "user='re\\'ader'" in server.conninfo
    assert "sslmode='verify-full'" in server.conninfo


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://u:hunter22@h/d", "holds a password"),
        ("mysql://u@h/d", "does not begin with postgresql://"),
        ("postgresql:///d", "names no host or no user"),
        ("postgresql://h/d", "names no host or no user"),
        ("postgresql://u@a,b/d", "more than one host"),
        ("postgresql://u@h:port/d", "cannot be read"),
        ("postgresql://u@h/d?passfile=/etc/shadow", "the option passfile"),
        ("postgresql://u@h/d?options=-csearch_path=x", "the option options"),
    ],
)
def test_anything_else_is_refused_and_says_why(url: str, told: str) -> None:
    with pytest.raises(CallerError, match=told) as caught:
        parse_source(url, "source")
    assert caught.value.argument == "source"
    assert "hunter22" not in str(caught.value)


def test_a_password_goes_to_the_host_it_is_for_alone() -> None:
    environ = {"PGPASSWORD": "s", "PGHOST": "db", "PGPORT": "5433", "PGSSLMODE": "require", "HOME": "/h", "X": "y"}
    own = credentials_for(parse_source("postgresql://u@db:5433/d"), environ)
    assert own == {"PGPASSWORD": "s", "PGSSLMODE": "require", "PGPASSFILE": "/h/.pgpass"}
    for other in ("postgresql://u@evil:5433/d", "postgresql://u@db:5432/d"):
        assert "PGPASSWORD" not in credentials_for(parse_source(other), environ)
    assert "PGPASSWORD" not in credentials_for(parse_source("postgresql://u@db/d"), {"PGPASSWORD": "s"})
