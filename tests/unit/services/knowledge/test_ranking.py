"""One order of what was found in several ways."""

import random

import pytest

from quantum_suite.services.knowledge.ranking import fuse

CHUNKS = 6_000


def order(*arguments: object) -> list[str]:
    return [key for key, _, _ in fuse(*arguments, chunks=CHUNKS)]  # type: ignore[arg-type]  # a test's lists


def test_words_and_meaning_together_beat_either_alone() -> None:
    ranked = fuse([("both", 12.0), ("words", 12.0)], [("both", 0.5), ("meaning", 0.5)], [], 10, chunks=CHUNKS)
    assert ranked[0][0] == "both"
    assert {key: ways for key, _, ways in ranked} == {
        "both": ("meaning", "words"),
        "words": ("words",),
        "meaning": ("meaning",),
    }


def test_a_chunk_that_only_words_found_is_not_taken_for_one_without_meaning() -> None:
    meaning = [("near", 0.62), ("far", 0.55)]
    assert order([("words", 40.0)], meaning, [], 10) == ["words", "near", "far"]


def test_common_words_do_not_outweigh_meaning() -> None:
    meaning = [("near", 0.7), ("far", 0.4)]
    assert order([("far", 1.0)], meaning, [], 10) == ["near", "far"]


def test_a_word_or_two_more_do_not_outweigh_meaning_and_many_rare_words_do() -> None:
    meaning = [("near", 0.62), ("far", 0.56)]
    assert order([("far", 9.0)], meaning, [], 10) == ["near", "far"]
    assert order([("far", 45.0), ("near", 9.0)], meaning, [], 10) == ["far", "near"]


def test_the_same_words_say_more_among_few_chunks_than_among_many() -> None:
    scores = [
        fuse([("a", 20.0)], [("a", 0.5)], [], 1, chunks=count)[0][1] for count in (0, 100, 10_000, 1_000_000)
    ]
    assert scores == sorted(set(scores), reverse=True)


def test_a_score_of_words_beyond_measure_counts_as_the_most_there_is() -> None:
    assert [score for _, score, _ in fuse([("a", 1e300)], [("a", 1.0)], [], 10, chunks=CHUNKS)] == [1.0]


def test_without_meaning_words_decide() -> None:
    assert order([("a", 9.0), ("b", 3.0)], [], [], 10) == ["a", "b"]


def test_a_definition_of_a_name_in_the_question_comes_first_in_the_order_of_definitions() -> None:
    ranked = fuse([("other", 12.0)], [("other", 0.6)], ["first", "second"], 10, chunks=CHUNKS)
    assert [key for key, _, _ in ranked] == ["first", "second", "other"]
    assert ranked[0][2] == ("symbol",)


def test_scores_lie_between_0_and_1_and_fall_whatever_comes_in() -> None:
    chance = random.Random(3)
    for _ in range(200):
        words = [(f"{chance.randrange(40)}", chance.uniform(-5, 500)) for _ in range(chance.randrange(30))]
        meaning = [(f"{chance.randrange(40)}", chance.uniform(-1.01, 1.01)) for _ in range(chance.randrange(30))]
        symbols = [f"{chance.randrange(40)}" for _ in range(chance.randrange(4))]
        ranked = fuse(words, meaning, symbols, 100, chunks=CHUNKS)
        scores = [score for _, score, _ in ranked]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)
        keys = [key for key, _, _ in ranked]
        assert len(keys) == len(set(keys))
        assert set(keys) == {key for key, _ in [*words, *meaning]} | set(symbols)
        assert all(ways for _, _, ways in ranked)


def test_the_score_of_a_chunk_does_not_depend_on_what_else_was_found() -> None:
    alone = fuse([("a", 8.0)], [("a", 0.5)], [], 10, chunks=CHUNKS)
    among = fuse([("b", 30.0), ("a", 8.0)], [("b", 0.9), ("a", 0.5)], [], 10, chunks=CHUNKS)
    assert {key: score for key, score, _ in among}["a"] == alone[0][1]


@pytest.mark.parametrize(("limit", "expected"), [(0, []), (1, ["a"]), (5, ["a", "b", "c"])])
def test_no_more_come_back_than_were_asked_for_and_equals_come_in_a_fixed_order(
    limit: int, expected: list[str]
) -> None:
    assert order([("c", 2.0), ("b", 2.0), ("a", 2.0)], [], [], limit) == expected


def test_nothing_found_is_nothing() -> None:
    assert fuse([], [], [], 10, chunks=0) == []
