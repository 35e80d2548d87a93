"""A breaker opens on failures in a row, lets single calls try, and closes on a success."""

from quantum_suite.services.breaker import CircuitBreaker


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock) -> CircuitBreaker:
    breaker = CircuitBreaker(threshold=2, first_pause_seconds=1, longest_pause_seconds=3, monotonic=clock)
    breaker.failed()
    breaker.failed()
    return breaker


def test_it_opens_only_on_failures_in_a_row_and_says_so_once() -> None:
    opens: list[bool] = []
    breaker = CircuitBreaker(threshold=2, on_open=lambda: opens.append(True))
    breaker.failed()
    breaker.close()
    breaker.failed()
    assert breaker.admits()
    breaker.failed()
    breaker.failed()
    assert breaker.is_open
    assert not breaker.admits()
    assert len(opens) == 1


def test_one_call_after_each_pause_tries_whether_it_is_over() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 1.1
    assert breaker.admits()
    assert not breaker.admits()


def test_pauses_grow_with_each_failed_trial_up_to_a_bound() -> None:
    clock = Clock()
    breaker = opened(clock)
    pauses = []
    for _ in range(4):
        began = clock.now
        while not breaker.admits():
            clock.now += 0.5
        pauses.append(clock.now - began)
        breaker.failed()
    assert pauses == [1.0, 2.0, 3.0, 3.0]


def test_a_health_check_brings_the_trial_forward_and_closes_nothing() -> None:
    clock = Clock()
    breaker = opened(clock)
    breaker.answers_again()
    assert breaker.is_open
    assert breaker.admits()
    assert not breaker.admits(), "one trial, not a flood"


def test_a_success_closes_it() -> None:
    breaker = opened(Clock())
    breaker.close()
    assert breaker.admits()
    assert breaker.admits()


def test_a_trial_that_never_ends_does_not_keep_the_next_one_away() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 1
    assert breaker.admits()
    clock.now += 1
    assert breaker.admits()
