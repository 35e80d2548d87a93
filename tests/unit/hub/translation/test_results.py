"""Results in the words of the other era."""

from quantum_suite.hub.call import (
    INVALID_PARAMS,
    LEGACY_RESOURCE_NOT_FOUND,
    META_SERVER_INFO,
    RpcError,
)
from quantum_suite.hub.translation.results import error_for, to_handshake, to_modern

INFO = {"name": "s", "version": "1"}


def test_a_handshake_result_becomes_a_complete_modern_one() -> None:
    result = to_modern("tools/call", {"content": [], "_meta": {"own": 1}}, INFO)
    assert result == {"resultType": "complete", "content": [], "_meta": {META_SERVER_INFO: INFO, "own": 1}}


def test_a_read_gets_cache_hints_that_promise_nothing() -> None:
    result = to_modern("resources/read", {"contents": []}, INFO)
    assert (result["ttlMs"], result["cacheScope"]) == (0, "private")


def test_a_modern_result_is_reduced_to_what_earlier_revisions_define() -> None:
    modern = {
        "resultType": "complete",
        "ttlMs": 1,
        "cacheScope": "public",
        "content": [],
        "structuredContent": [1],
    }
    assert to_handshake({**modern, "_meta": {META_SERVER_INFO: INFO}}) == {"content": []}


def test_structured_content_that_is_an_object_is_kept() -> None:
    assert to_handshake({"structuredContent": {"a": 1}}) == {"structuredContent": {"a": 1}}


def test_a_missing_resource_has_the_code_of_the_clients_era() -> None:
    old = RpcError(LEGACY_RESOURCE_NOT_FOUND, "Resource not found", {"uri": "a://b"})
    assert error_for("modern", "resources/read", old).code == INVALID_PARAMS
    assert error_for("modern", "tools/call", old).code == LEGACY_RESOURCE_NOT_FOUND
    assert error_for("handshake", "resources/read", old).code == LEGACY_RESOURCE_NOT_FOUND
