"""Providers in states: what a state holds opens again, in another process and under the names it was kept with."""

import base64

import dill  # type: ignore[import-untyped]  # the package has no types
import pytest
from pulumi.dynamic.dynamic import serialize_provider

from quantum_suite.services.infrastructure.library.aws.ec2 import (
    InstanceProvider,
    SecurityGroupProvider,
    SubnetProvider,
    VpcProvider,
)
from quantum_suite.services.infrastructure.library.aws.provider import AwsProvider, Connection

EC2 = "quantum_suite.services.infrastructure.library.aws.ec2"
PROVIDERS = [InstanceProvider, SecurityGroupProvider, SubnetProvider, VpcProvider]


@pytest.mark.parametrize("kind", PROVIDERS)
def test_a_provider_is_kept_by_name_and_opens_with_its_connection(kind: type[AwsProvider]) -> None:
    kept = base64.b64decode(serialize_provider(kind(Connection("eu-central-1"))))

    opened = dill.loads(kept)

    assert type(opened) is kind
    assert opened.connection == Connection("eu-central-1")
    assert opened.diff("id", {}, {"tags": {"a": "1"}}).changes


@pytest.mark.parametrize("kind", PROVIDERS)
def test_a_state_that_names_the_package_finds_the_provider(
    kind: type[AwsProvider], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(kind, "__module__", EC2)
        kept = base64.b64decode(serialize_provider(kind(Connection("eu-central-1"))))

    assert EC2.encode() in kept
    assert type(dill.loads(kept)) is kind
