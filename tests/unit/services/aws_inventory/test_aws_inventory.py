"""What there is in an account, and which of it no stack knows."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from reference.aws import RunningAws, running_aws

from quantum_suite.core.errors import CallerError, EngineError, EngineMissing
from quantum_suite.services.aws_inventory import inventory
from quantum_suite.services.aws_inventory.inventory import TYPES, Item, list_aws
from quantum_suite.services.aws_inventory.managed import every_state, unmanaged
from quantum_suite.services.infrastructure.interface import Deployment, ResourceState, StackRef
from quantum_suite.services.infrastructure.state.files import FileStateStore

pytestmark = pytest.mark.anyio

DYNAMIC = "pulumi-python:dynamic/aws:"


@pytest.fixture(scope="module")
def cloud() -> Iterator[RunningAws]:
    with running_aws() as cloud:
        fill(cloud)
        yield cloud


def fill(cloud: RunningAws) -> None:
    ec2, iam = cloud.client("ec2"), cloud.client("iam")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    ec2.create_tags(Resources=[vpc], Tags=[{"Key": "Name", "Value": "own"}])
    ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")
    ec2.create_security_group(GroupName="door", Description="d", VpcId=vpc)
    started = ec2.run_instances(ImageId="ami-12c6146b", MinCount=2, MaxCount=2)["Instances"]
    ec2.terminate_instances(InstanceIds=[started[0]["InstanceId"]])
    nobody = json.dumps({"Version": "2012-10-17", "Statement": []})
    iam.create_role(RoleName="own", AssumeRolePolicyDocument=nobody)
    iam.create_role(RoleName="theirs", AssumeRolePolicyDocument=nobody, Path="/aws-service-role/x/")
    allow = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
    iam.create_policy(PolicyName="own", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allow]}))
    iam.create_user(UserName="own")
    cloud.client("s3").create_bucket(Bucket="own-bucket")
    for number in range(3):
        cloud.client("sqs").create_queue(QueueName=f"own-{number}")
        cloud.client("dynamodb").create_table(
            TableName=f"own-{number}",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )


async def test_an_account_is_listed_without_what_aws_made_itself(cloud: RunningAws) -> None:
    found = await list_aws(cloud.environment)

    counts = {kind: sum(item.type == kind for item in found.items) for kind in TYPES}
    assert counts == {
        "Bucket": 1,
        "Role": 1,
        "Policy": 1,
        "User": 1,
        "SecurityGroup": 1,
        "Instance": 1,
        "Vpc": 1,
        "Subnet": 1,
        "Queue": 3,
        "Table": 3,
    }
    assert next(item.name for item in found.items if item.type == "Vpc") == "own"
    assert (found.not_listed, found.cut) == ({}, [])


async def test_more_than_is_listed_is_said(cloud: RunningAws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "MOST_ITEMS", 2)

    found = await list_aws(cloud.environment, ["Queue", "User"])

    assert (len(found.items), found.cut) == (3, ["Queue"])


async def test_a_listing_that_is_refused_is_named(cloud: RunningAws, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(client: inventory.Clients) -> Iterator[Item]:
        client("iam").get_user(UserName="nobody")
        yield from ()

    monkeypatch.setattr(inventory, "_LISTS", {**inventory._LISTS, "User": refused})

    found = await list_aws(cloud.environment, ["User", "Bucket"])

    assert [item.id for item in found.items] == ["own-bucket"]
    assert "NoSuchEntity" in found.not_listed["User"]


async def test_what_keeps_an_account_from_being_listed_is_told(
    cloud: RunningAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The hub's own environment is not what stacks were granted.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-the-hub")
    with pytest.raises(CallerError, match="No AWS credentials are granted"):
        await list_aws({})
    with pytest.raises(CallerError, match="There is no type Moon"):
        await list_aws(cloud.environment, ["Moon"])
    away = {**cloud.environment, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    logging.getLogger("botocore").setLevel(logging.CRITICAL)
    with pytest.raises(EngineError, match="cannot be asked"):
        await list_aws(away, ["Bucket"])
    monkeypatch.setattr(inventory.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EngineMissing, match="boto3"):
        await list_aws(cloud.environment)


def test_what_a_state_knows_is_managed_by_type_and_id_or_by_arn() -> None:
    arn = "arn:aws:iam::1:role/foreign"
    items = [
        Item("Bucket", "ours"),
        Item("Queue", "ours"),
        Item("Role", "foreign", "foreign", arn),
        Item("Queue", "by-address"),
        Item("User", "looked-up"),
    ]
    state = Deployment(
        "p",
        "dev",
        1,
        (
            ResourceState("a", DYNAMIC + "Bucket", custom=True, id="ours"),
            ResourceState("b", "aws:iam/role:Role", custom=True, id="x", outputs={"arn": arn}),
            ResourceState("c", "aws:sqs/queue:Queue", custom=True, id="https://sqs/1/by-address"),
            ResourceState("d", "aws:iam/user:User", custom=True, id="looked-up", external=True),
        ),
    )

    assert [(one.type, one.id) for one in unmanaged(items, [state])] == [("Queue", "ours"), ("User", "looked-up")]


def test_the_states_of_all_projects_are_read_and_damaged_ones_named(tmp_path: Path) -> None:
    store = FileStateStore(tmp_path / "states")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        ref = StackRef(tmp_path / name, "dev")
        store.begin_journal(ref, Deployment(name, "dev")).close()
        store.write(ref, Deployment(name, "dev", 1))
    store.place(StackRef(tmp_path / "two", "dev")).write_text("{")

    states, unread = every_state(store)

    assert ([one.project for one in states], unread) == (["one"], [f"dev of {tmp_path / 'two'}"])
