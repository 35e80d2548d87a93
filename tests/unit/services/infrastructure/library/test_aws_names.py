"""What resources are called where the program does not say."""

import pulumi
import pytest

from quantum_suite.services.infrastructure.library.aws import Bucket
from quantum_suite.services.infrastructure.library.aws.provider import physical_name, tag_changes, tag_map, token


@pytest.fixture(autouse=True)
def _program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulumi, "get_project", lambda: "shop")
    monkeypatch.setattr(pulumi, "get_stack", lambda: "dev")


def test_a_name_is_the_same_for_every_run_and_another_for_every_resource() -> None:
    long = physical_name("a" * 100)

    assert physical_name("store") == physical_name("store") == "shop-dev-store"
    # What is cut or spelt otherwise is told apart by a digest of the whole.
    assert len(long) <= 63
    assert long != physical_name("a" * 101)
    assert physical_name("Store") != physical_name("store")
    assert physical_name("Store").startswith("shop-dev-store-")


def test_a_token_tells_kinds_and_names_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = {token("Vpc", "a"), token("Vpc", "b"), token("Subnet", "a")}
    monkeypatch.setattr(pulumi, "get_stack", lambda: "prod")

    assert len({*tokens, token("Vpc", "a")}) == 4


def test_tags_of_aws_and_of_the_library_are_not_the_programs() -> None:
    tags = [{"Key": key, "Value": "v"} for key in ("b", "quantum:resource", "aws:cloudformation", "a")]

    assert list(tag_map(tags)) == ["a", "b"]
    assert tag_changes({"tags": {"a": "1", "b": "2"}}, {"tags": {"b": "3"}}) == ({"b": "3"}, ["a"])


def test_a_property_that_a_resource_does_not_have_is_named() -> None:
    with pytest.raises(TypeError, match="Bucket has no colour; it has name, versioning"):
        Bucket("store", colour="red")
