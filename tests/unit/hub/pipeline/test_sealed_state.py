"""A sealed state is good for one call, once, for a while."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_suite.core.errors import ConfigurationError
from quantum_suite.hub.pipeline.sealed_state import Binding, InvalidState, State, StateSeal
from quantum_suite.services.limits.memory import MemoryRateLimiter

CALL = Binding("key:ops", "ops\ndrop", "0" * 64)


class Clock:
    def __init__(self) -> None:
        self.passed = 0.0

    def __call__(self) -> float:
        return self.passed


@given(st.none() | st.text(st.characters(exclude_categories=["Cs"])))
def test_what_was_sealed_is_what_is_opened(inner: str | None) -> None:
    seal = StateSeal()
    assert seal.open(seal.seal(State("approved", inner), CALL), CALL) == State("approved", inner)


def test_a_state_opens_once() -> None:
    seal = StateSeal()
    text = seal.seal(State("asked"), CALL)
    seal.open(text, CALL)
    with pytest.raises(InvalidState) as caught:
        seal.open(text, CALL)
    assert caught.value.why == "used"


@pytest.mark.parametrize("change", [{"principal": "key:x"}, {"tool": "ops\nx"}, {"arguments_sha256": "1" * 64}])
def test_another_call_cannot_use_it_and_does_not_spend_it(change: dict[str, str]) -> None:
    seal = StateSeal()
    text = seal.seal(State("asked"), CALL)
    with pytest.raises(InvalidState) as caught:
        seal.open(text, replace(CALL, **change))
    assert caught.value.why == "mismatched"
    assert seal.open(text, CALL) == State("asked")


def test_it_is_void_when_its_time_is_over() -> None:
    clock = Clock()
    seal = StateSeal(lifetime_seconds=10, clock=clock)
    late, later = seal.seal(State("asked"), CALL), seal.seal(State("asked"), CALL)
    clock.passed = 9.9
    seal.open(late, CALL)
    clock.passed = 10
    with pytest.raises(InvalidState, match="10 seconds") as caught:
        seal.open(later, CALL)
    assert caught.value.why == "expired"


def test_no_changed_character_goes_unnoticed() -> None:
    seal = StateSeal()
    text = seal.seal(State("asked"), CALL)
    for at in range(len(text)):
        changed = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
        # The last digit of base64 may carry bits that mean nothing; what they say is the same then.
        if seal.recognises(changed):
            assert at >= len(text.rstrip("=")) - 1
    assert seal.open(text, CALL) == State("asked")


@pytest.mark.parametrize("text", ["", "qsa1.", "qsa1.AAAA", "qsa1.ü", "qsa1.A", "upstream's own", None, 7, {}])
def test_what_was_never_sealed_is_forged(text: object) -> None:
    seal = StateSeal()
    assert not seal.recognises(text)
    with pytest.raises(InvalidState) as caught:
        seal.open(text, CALL)
    assert caught.value.why == "forged"


def test_another_process_does_not_take_it() -> None:
    with pytest.raises(InvalidState) as caught:
        StateSeal().open(StateSeal().seal(State("asked"), CALL), CALL)
    assert caught.value.why == "forged"


def test_what_is_outstanding_is_bounded_for_each_principal_and_the_oldest_is_void() -> None:
    seal = StateSeal(max_outstanding=2)
    other = replace(CALL, principal="key:other")
    others = seal.seal(State("asked"), other)
    texts = [seal.seal(State("asked"), CALL) for _ in range(3)]
    with pytest.raises(InvalidState):
        seal.open(texts[0], CALL)
    for text in texts[1:]:
        seal.open(text, CALL)
    seal.open(others, other)


KEY = b"k" * 32


@pytest.mark.anyio
async def test_replicas_with_one_key_take_each_others_states_once() -> None:
    uses = MemoryRateLimiter()
    one, other = StateSeal(KEY, uses=uses), StateSeal(KEY, uses=uses)
    text = one.seal(State("asked", "inner"), CALL)
    assert await other.redeem(text, CALL) == State("asked", "inner")
    for seal in (one, other):
        with pytest.raises(InvalidState) as caught:
            await seal.redeem(text, CALL)
        assert caught.value.why == "used"


@pytest.mark.anyio
async def test_a_restart_with_the_same_key_voids_nothing_but_what_was_used() -> None:
    uses = MemoryRateLimiter()
    before = StateSeal(KEY, uses=uses)
    pending, used = before.seal(State("asked"), CALL), before.seal(State("asked"), CALL)
    await before.redeem(used, CALL)
    after = StateSeal(KEY, uses=uses)
    assert await after.redeem(pending, CALL) == State("asked")
    with pytest.raises(InvalidState):
        await after.redeem(used, CALL)


def test_a_replica_that_shares_no_uses_takes_a_state_once_by_itself() -> None:
    text = StateSeal(KEY).seal(State("asked"), CALL)
    other = StateSeal(KEY)
    other.open(text, CALL)
    with pytest.raises(InvalidState):
        other.open(text, CALL)


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="16 bytes"):
        StateSeal(b"k" * 16)
