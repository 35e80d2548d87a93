"""The AWS providers, each against moto: made, found again, read the same, changed in place, deleted."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from pulumi.output import UNKNOWN
from reference.aws import RunningAws, running_aws

from quantum_suite.services.infrastructure.library.aws.dynamodb import TableProvider
from quantum_suite.services.infrastructure.library.aws.ec2 import (
    InstanceProvider,
    SecurityGroupProvider,
    SubnetProvider,
    VpcProvider,
)
from quantum_suite.services.infrastructure.library.aws.iam import (
    AttachmentProvider,
    PolicyProvider,
    RoleProvider,
    UserProvider,
)
from quantum_suite.services.infrastructure.library.aws.provider import AwsFailed, AwsProvider, Connection
from quantum_suite.services.infrastructure.library.aws.s3 import BucketProvider
from quantum_suite.services.infrastructure.library.aws.sqs import QueueProvider

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": ["ec2.amazonaws.com"]}, "Action": "sts:AssumeRole"}
    ],
}
SEND = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": ["sqs:SendMessage"], "Resource": "*"}}
LIST = {
    "Version": "2012-10-17",
    "Statement": {"Effect": "Allow", "Action": ["s3:ListBucket", "s3:GetObject"], "Resource": "*"},
}
TLS_ONLY = {
    "Version": "2012-10-17",
    "Statement": {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": "*",
        "Condition": {"Bool": {"aws:SecureTransport": False}},
    },
}


@pytest.fixture(scope="module")
def cloud() -> Iterator[RunningAws]:
    with running_aws() as cloud:
        cloud.client("iam").create_policy(PolicyName="known", PolicyDocument=json.dumps(SEND))
        cloud.client("sqs").create_queue(QueueName="dead")
        yield cloud


def connection(cloud: RunningAws) -> Connection:
    return Connection("us-east-1", cloud.url, "", "testing", "testing-secret")


def inputs_of(provider: AwsProvider, **given: Any) -> dict[str, Any]:
    result = provider.check({}, {"__token": "t" + provider.word, **given})
    assert not result.failures, [(one.property, one.reason) for one in result.failures]
    return result.inputs


def network(cloud: RunningAws) -> tuple[str, str, str]:
    """Make a network, a subnet and a group of our own."""
    where = connection(cloud)
    vpc = VpcProvider(where)
    made = vpc.create(inputs_of(vpc, cidr_block="10.9.0.0/16")).id
    subnet = SubnetProvider(where)
    inside = subnet.create(inputs_of(subnet, vpc_id=made, cidr_block="10.9.1.0/24")).id
    group = SecurityGroupProvider(where)
    guard = group.create(inputs_of(group, name="of-instances", vpc_id=made)).id
    return made, inside, guard


# Each: the provider, how it is made, what is changed in place, and what is changed by another resource.
LIVES: list[tuple[type[AwsProvider], dict[str, Any], list[dict[str, Any]], dict[str, Any]]] = [
    (
        BucketProvider,
        {"name": "life", "versioning": True, "policy": TLS_ONLY, "tags": {"a": "1", "b": "2"}},
        [
            {"versioning": False},
            {"tags": {"b": "3"}},
            {"tags": {}},
            {"policy": ""},
            {"encryption": "aws:kms", "kms_key_id": "alias/k"},
            {"encryption": "none", "kms_key_id": ""},
            {"public_access_block": {"block_public_acls": False}},
            {"lifecycle_rules": [{"id": "old", "prefix": "logs/", "expiration_days": 3, "abort_days": 2}]},
            {"lifecycle_rules": []},
        ],
        {"name": "life-2"},
    ),
    (
        RoleProvider,
        {"name": "life", "assume_role_policy": TRUST, "inline_policies": {"send": SEND}, "tags": {"a": "1"}},
        [
            {"inline_policies": {"list": LIST}},
            {"assume_role_policy": json.dumps({**TRUST, "Id": "x"})},
            {"description": "for instances", "max_session_duration": 7200},
            {"permissions_boundary": "arn:aws:iam::123456789012:policy/edge"},
            {"permissions_boundary": ""},
            {"tags": {"b": "2"}},
        ],
        {"path": "/other/"},
    ),
    (
        UserProvider,
        {"name": "life", "inline_policies": {"send": SEND}, "tags": {"a": "1"}},
        [
            {"inline_policies": {}},
            {"policy_arns": ["arn:aws:iam::123456789012:policy/known"]},
            {"policy_arns": []},
            {"tags": {}},
        ],
        {"name": "life-2"},
    ),
    (
        PolicyProvider,
        {"name": "life", "policy": SEND, "tags": {"a": "1"}},
        [*({"policy": {**LIST, "Id": f"v{number}"}} for number in range(6)), {"tags": {"b": "2"}}],
        {"description": "another"},
    ),
    (
        QueueProvider,
        {"name": "life", "tags": {"a": "1"}},
        [
            {"visibility_timeout": 45, "delay_seconds": 5},
            {"encryption": "kms", "kms_key_id": "alias/aws/sqs"},
            {"encryption": "sqs", "kms_key_id": ""},
            {"dead_letter_arn": "arn:aws:sqs:us-east-1:123456789012:dead", "max_receive_count": 4},
            {"dead_letter_arn": "", "max_receive_count": 0},
            {"policy": {**SEND, "Id": "queue"}},
            {"visibility_timeout": 50},
            {"policy": ""},
            {"tags": {"b": "2"}},
        ],
        {"name": "life.fifo", "fifo": True},
    ),
    (
        TableProvider,
        {"name": "life", "hash_key": "id", "range_key": "at", "range_key_type": "N", "tags": {"a": "1"}},
        [
            {"billing_mode": "PROVISIONED", "read_capacity": 3, "write_capacity": 2},
            {"read_capacity": 5},
            {"point_in_time_recovery": True},
            {"deletion_protection": True},
            {"deletion_protection": False},
            {"ttl_attribute": "ends"},
            {"ttl_attribute": ""},
            {"tags": {}},
        ],
        {"hash_key_type": "B"},
    ),
    (
        VpcProvider,
        {"cidr_block": "10.8.0.0/16", "tags": {"a": "1"}},
        [{"enable_dns_hostnames": True}, {"enable_dns_support": False}, {"tags": {"b": "2"}}],
        {"cidr_block": "10.7.0.0/16"},
    ),
    (
        SubnetProvider,
        {"cidr_block": "10.9.2.0/24", "tags": {"a": "1"}},
        [{"map_public_ip_on_launch": True}, {"tags": {}}],
        {"availability_zone": "us-east-1b"},
    ),
    (
        SecurityGroupProvider,
        {
            "name": "life",
            "ingress": [{"port": 22, "sources": ["10.0.0.0/8", "10.1.0.7/16"], "description": "inside"}],
            "tags": {"a": "1"},
        },
        [
            {"ingress": [{"port": 22, "source": "10.0.0.0/8", "description": "changed"}]},
            {
                "ingress": [
                    {"port": 443, "source": "::/0"},
                    {"protocol": "udp", "port": 53, "source": "10.0.0.0/8"},
                ]
            },
            {"egress": [{"port": 443, "source": "0.0.0.0/0"}]},
            {"ingress": []},
            {"tags": {"b": "2"}},
        ],
        {"description": "another"},
    ),
    (
        InstanceProvider,
        {"ami": "ami-12c6146b", "tags": {"a": "1"}, "user_data": "echo hello"},
        [
            {"instance_type": "t3.small"},
            {"state": "stopped"},
            {"state": "running"},
            {"termination_protection": True},
            {"termination_protection": False},
            {"tags": {}},
        ],
        {"user_data": "echo else"},
    ),
]


@pytest.mark.parametrize(("kind", "made", "changes", "replacing"), LIVES, ids=lambda one: getattr(one, "word", ""))
def test_a_resource_reads_as_it_was_made_after_each_change_and_is_deleted_twice(
    cloud: RunningAws,
    kind: type[AwsProvider],
    made: dict[str, Any],
    changes: list[dict[str, Any]],
    replacing: dict[str, Any],
) -> None:
    provider = kind(connection(cloud))
    if kind in (SubnetProvider, SecurityGroupProvider, InstanceProvider):
        vpc, subnet, group = network(cloud)
        made = {
            **made,
            **({"subnet_id": subnet, "security_group_ids": [group]} if kind is InstanceProvider else {}),
        }
        made = {**made, **({"vpc_id": vpc} if kind is not InstanceProvider else {})}
    inputs = inputs_of(provider, **made)
    assert provider.read(inputs["__identity"], inputs).id is None

    created = provider.create(inputs)
    outputs = created.outs or {}

    assert provider.diff(created.id, outputs, inputs).changes is False
    assert provider.read(created.id, outputs).outs == outputs
    again = provider.read(inputs["__identity"], inputs)
    assert (again.id, again.outs) == (created.id, outputs)
    for change in changes:
        made = {**made, **change}
        news = inputs_of(provider, **made)
        difference = provider.diff(created.id, outputs, news)
        assert (difference.changes, difference.replaces) == (True, []), change
        outputs = provider.update(created.id, outputs, news).outs or {}
        assert provider.diff(created.id, outputs, news).changes is False, change
        assert provider.read(created.id, outputs).outs == outputs
    if outputs.get("availability_zone") == replacing.get("availability_zone", ""):
        replacing = {"availability_zone": "us-east-1c"}  # where none was asked for, the cloud chooses any
    another = inputs_of(provider, **{**made, **replacing})
    assert provider.diff(created.id, outputs, another).replaces
    assert another["__identity"] != inputs["__identity"] or kind in (TableProvider, RoleProvider, PolicyProvider)
    provider.delete(created.id, outputs)
    assert provider.read(created.id, outputs).id is None
    provider.delete(created.id, outputs)


def test_an_attachment_is_there_while_the_role_has_the_policy(cloud: RunningAws) -> None:
    where = connection(cloud)
    role, attachment = RoleProvider(where), AttachmentProvider(where)
    role.create(inputs_of(role, name="holder", assume_role_policy=TRUST))
    arn = "arn:aws:iam::123456789012:policy/known"
    inputs = inputs_of(attachment, role="holder", policy_arn=arn)

    made = attachment.create(inputs)
    there = attachment.read(made.id, inputs)
    cloud.client("iam").detach_role_policy(RoleName="holder", PolicyArn=arn)
    gone = attachment.read(made.id, inputs)
    attachment.delete(made.id, inputs)

    assert (there.id, gone.id) == (f"holder|{arn}", None)


def test_what_cannot_be_is_said_property_by_property() -> None:
    def said(provider: AwsProvider, **given: Any) -> dict[str, str]:
        return {one.property: one.reason for one in provider.check({}, given).failures}

    assert "lower-case" in said(BucketProvider(), name="Upper")["name"]
    assert "no such property" in said(BucketProvider(), name="fine-name", colour="red")["colour"]
    assert "kms" in said(BucketProvider(), name="fine-name", kms_key_id="k")["kms_key_id"]
    assert (
        "names no days"
        in said(BucketProvider(), name="fine-name", lifecycle_rules=[{"id": "x"}])["lifecycle_rules"]
    )
    assert "missing" in said(RoleProvider(), name="r")["assume_role_policy"]
    assert "no JSON" in said(RoleProvider(), name="r", assume_role_policy="{")["assume_role_policy"]
    assert ".fifo" in said(QueueProvider(), name="q", fifo=True)["name"]
    assert "from 0 to 43200" in said(QueueProvider(), name="q", visibility_timeout=99_999)["visibility_timeout"]
    assert "go together" in said(QueueProvider(), name="q", max_receive_count=2)["max_receive_count"]
    assert "PROVISIONED" in said(TableProvider(), name="t", hash_key="i", read_capacity=2)["read_capacity"]
    assert (
        "no network" in said(SecurityGroupProvider(), name="g", ingress=[{"port": 1, "source": "ten"}])["ingress"]
    )
    assert "from_port" in said(SecurityGroupProvider(), name="g", ingress=[{"source": "10.0.0.0/8"}])["ingress"]
    assert "at least one" in said(InstanceProvider(), ami="a", security_group_ids=[])["security_group_ids"]
    assert (
        "true or false" in said(VpcProvider(), cidr_block="10.0.0.0/8", enable_dns_support=1)["enable_dns_support"]
    )


def test_what_is_not_known_yet_is_not_known_as_a_whole_and_hides_the_identity() -> None:
    inputs = InstanceProvider().check(
        {}, {"ami": "a", "security_group_ids": ["sg-1", UNKNOWN], "subnet_id": UNKNOWN}
    )

    assert not inputs.failures
    assert inputs.inputs["security_group_ids"] == inputs.inputs["subnet_id"] == inputs.inputs["__identity"]


def test_a_bucket_that_holds_objects_goes_only_with_force(cloud: RunningAws) -> None:
    provider = BucketProvider(connection(cloud))
    made = provider.create(inputs_of(provider, name="filled", versioning=True))
    cloud.client("s3").put_object(Bucket="filled", Key="a", Body=b"1")
    cloud.client("s3").delete_object(Bucket="filled", Key="a")

    with pytest.raises(AwsFailed, match="holds objects"):
        provider.delete("filled", made.outs or {})
    provider.delete("filled", {**(made.outs or {}), "force_destroy": True})

    with pytest.raises(ClientError):
        cloud.client("s3").head_bucket(Bucket="filled")


def test_refusals_and_silence_are_told_in_words(cloud: RunningAws, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = AttachmentProvider(connection(cloud))
    with pytest.raises(AwsFailed, match=r"Creating the attachment: AWS refused AttachRolePolicy \(NoSuchEntity\)"):
        provider.create(inputs_of(provider, role="nobody", policy_arn="arn:aws:iam::aws:policy/ReadOnlyAccess"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", "/nonexistent")
    with pytest.raises(AwsFailed, match="no AWS credentials"):
        BucketProvider(Connection("us-east-1", cloud.url)).read("some-bucket", {})


def test_a_provider_with_keys_of_its_own_is_kept_as_a_secret() -> None:
    assert BucketProvider(Connection(access_key_id="a", secret_access_key="b")).serialize_as_secret_always
    assert not BucketProvider(Connection("us-east-1")).serialize_as_secret_always
