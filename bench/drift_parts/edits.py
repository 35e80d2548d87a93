"""Edits of the world by hand: what is done with boto3, and where that has to be seen, if anywhere."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quantum_suite.services.infrastructure.interface import ResourceState

PREFIX = "pulumi-python:dynamic/aws:"
OPEN = '["tcp 22-22 0.0.0.0/0"]'
INSIDE = '["tcp 443-443 10.1.0.0/16"]'


@dataclass(frozen=True, slots=True)
class Logged:
    """One edit as it was made."""

    resource: str
    """The logical name; empty for what no stack knows."""
    what: str
    seen: frozenset[str]
    """Property paths that differ by it; `missing` for a deletion, `type:id` for an addition, none for a no-op."""


@dataclass(frozen=True, slots=True)
class Edit:
    """An edit that can be made once: no two of a round touch the same place."""

    resource: str
    slot: str
    """What it touches: one edit a slot."""
    what: str
    seen: Sequence[str]
    make: Callable[[], Any]

    def logged(self) -> Logged:
        """Return what is written down of it."""
        return Logged(self.resource, self.what, frozenset(self.seen))


Client = Callable[[str], Any]


def possible_edits(state: Sequence[ResourceState], client: Client, chance: random.Random) -> list[Edit]:
    """Return every edit that the stack's resources allow."""
    makers = {
        "Bucket": _of_bucket,
        "Role": _of_role,
        "Policy": _of_policy,
        "RolePolicyAttachment": _of_attachment,
        "User": _of_user,
        "Subnet": _of_subnet,
        "SecurityGroup": _of_group,
        "Instance": _of_instance,
        "Queue": _of_queue,
        "Table": _of_table,
        "Vpc": _of_vpc,
    }
    found: list[Edit] = []
    for one in state:
        kind = one.type.removeprefix(PREFIX)
        if one.type.startswith(PREFIX):
            edits = makers[kind](one.id, one.outputs, client, chance)
            found += [Edit(one.name, slot, what, seen, make) for slot, what, seen, make in edits]
    return found


def additions(client: Client, round_number: int) -> list[Edit]:
    """Return things that no stack knows."""
    name = f"by-hand-{round_number}"
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    table = {
        "TableName": name,
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
    }
    made = {
        "Bucket": lambda: client("s3").create_bucket(Bucket=name),
        "Queue": lambda: client("sqs").create_queue(QueueName=name),
        "User": lambda: client("iam").create_user(UserName=name),
        "Role": lambda: client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust),
        "Table": lambda: client("dynamodb").create_table(**table),
    }
    return [Edit("", kind, "addition", [f"{kind}:{name}"], make) for kind, make in made.items()]


_Edits = list[tuple[str, str, list[str], Callable[[], Any]]]


def _tags(outputs: Mapping[str, Any], put: Callable[[dict[str, str]], Any], chance: random.Random) -> _Edits:
    """Tags that are set as a whole: one of them changed, one more, or the same in another order."""
    tags = dict(outputs["tags"])
    number = str(chance.randint(1, 10**6))
    return [
        ("tags", "tag changed", ["tags.owner"], lambda: put({**tags, "owner": number})),
        ("tags", "tag added", ["tags.added"], lambda: put({**tags, "added": number})),
        ("tags", "tags in another order", [], lambda: put(dict(reversed(tags.items())))),
    ]


def _tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _reordered(document: str) -> str:
    """Return the same policy, written otherwise."""
    parsed = json.loads(document)
    for statement in parsed["Statement"]:
        actions = statement["Action"]
        statement["Action"] = list(reversed(actions)) if isinstance(actions, list) else [actions]
    return json.dumps(dict(reversed(parsed.items())), indent=2)


def _other(chance: random.Random) -> str:
    statement = {"Effect": "Allow", "Action": f"sns:Publish{chance.randint(1, 999)}", "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _of_bucket(name: str, outputs: Mapping[str, Any], client: Client, chance: random.Random) -> _Edits:
    s3 = client("s3")
    blocks = {
        "BlockPublicAcls": False,
        "IgnorePublicAcls": True,
        "BlockPublicPolicy": True,
        "RestrictPublicBuckets": True,
    }
    kms = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "alias/by-hand"}
    rule = {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 90}}
    extra = {"ID": "extra", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 7}}

    def lifecycle(*rules: Any) -> Callable[[], Any]:
        return lambda: s3.put_bucket_lifecycle_configuration(
            Bucket=name, LifecycleConfiguration={"Rules": list(rules)}
        )

    return [
        (
            "versioning",
            "versioning suspended",
            ["versioning"],
            lambda: s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Suspended"}),
        ),
        (
            "encryption",
            "another key",
            ["encryption", "kms_key_id"],
            lambda: s3.put_bucket_encryption(
                Bucket=name,
                ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": kms}]},
            ),
        ),
        (
            "block",
            "opened",
            ["public_access_block.block_public_acls"],
            lambda: s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=blocks),
        ),
        ("policy", "policy gone", ["policy"], lambda: s3.delete_bucket_policy(Bucket=name)),
        (
            "policy",
            "policy written otherwise",
            [],
            lambda: s3.put_bucket_policy(Bucket=name, Policy=_reordered(outputs["policy"])),
        ),
        ("rules", "rule added", ["lifecycle_rules.extra"], lifecycle(extra, rule)),
        (
            "rules",
            "rule changed",
            ["lifecycle_rules.old.expiration_days"],
            lifecycle({**rule, "Expiration": {"Days": 91}}),
        ),
        ("rules", "rules the same", [], lifecycle(rule)),
        ("acl", "access list set to what it is", [], lambda: s3.put_bucket_acl(Bucket=name, ACL="private")),
        *_tags(
            outputs, lambda tags: s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": _tag_list(tags)}), chance
        ),
    ]


def _of_role(name: str, outputs: Mapping[str, Any], client: Client, chance: random.Random) -> _Edits:
    iam = client("iam")
    return [
        (
            "role",
            "description changed",
            ["description"],
            lambda: iam.update_role(RoleName=name, Description="by hand", MaxSessionDuration=3600),
        ),
        (
            "role",
            "longer sessions",
            ["max_session_duration"],
            lambda: iam.update_role(RoleName=name, Description="", MaxSessionDuration=7200),
        ),
        (
            "trust",
            "trust written otherwise",
            [],
            lambda: iam.update_assume_role_policy(
                RoleName=name, PolicyDocument=_reordered(outputs["assume_role_policy"])
            ),
        ),
        (
            "extra",
            "inline policy added",
            ["inline_policies.extra"],
            lambda: iam.put_role_policy(RoleName=name, PolicyName="extra", PolicyDocument=_other(chance)),
        ),
        (
            "own",
            "inline policy changed",
            ["inline_policies.own"],
            lambda: iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=_other(chance)),
        ),
        (
            "own",
            "inline policy gone",
            ["inline_policies.own"],
            lambda: iam.delete_role_policy(RoleName=name, PolicyName="own"),
        ),
        (
            "own",
            "inline policy written otherwise",
            [],
            lambda: iam.put_role_policy(
                RoleName=name, PolicyName="own", PolicyDocument=_reordered(outputs["inline_policies"]["own"])
            ),
        ),
        *_tags(outputs, lambda tags: iam.tag_role(RoleName=name, Tags=_tag_list(tags)), chance),
    ]


def _of_policy(arn: str, outputs: Mapping[str, Any], client: Client, chance: random.Random) -> _Edits:
    iam = client("iam")

    def version(document: str) -> Callable[[], Any]:
        return lambda: iam.create_policy_version(PolicyArn=arn, PolicyDocument=document, SetAsDefault=True)

    return [
        ("policy", "document changed", ["policy"], version(_other(chance))),
        ("policy", "document written otherwise", [], version(_reordered(outputs["policy"]))),
        *_tags(outputs, lambda tags: iam.tag_policy(PolicyArn=arn, Tags=_tag_list(tags)), chance),
    ]


def _of_attachment(_made: str, outputs: Mapping[str, Any], client: Client, _chance: random.Random) -> _Edits:
    def detach() -> Any:
        return client("iam").detach_role_policy(RoleName=outputs["role"], PolicyArn=outputs["policy_arn"])

    return [("", "detached", ["missing"], detach)]


def _of_user(name: str, outputs: Mapping[str, Any], client: Client, chance: random.Random) -> _Edits:
    iam = client("iam")

    def remove() -> None:
        iam.delete_user_policy(UserName=name, PolicyName="read")
        iam.delete_user(UserName=name)

    return [
        ("", "deleted", ["missing"], remove),
        (
            "extra",
            "inline policy added",
            ["inline_policies.extra"],
            lambda: iam.put_user_policy(UserName=name, PolicyName="extra", PolicyDocument=_other(chance)),
        ),
        (
            "read",
            "inline policy changed",
            ["inline_policies.read"],
            lambda: iam.put_user_policy(UserName=name, PolicyName="read", PolicyDocument=_other(chance)),
        ),
        *_tags(outputs, lambda tags: iam.tag_user(UserName=name, Tags=_tag_list(tags)), chance),
    ]


def _ec2_tags(made: str, outputs: Mapping[str, Any], client: Client, chance: random.Random) -> _Edits:
    ec2 = client("ec2")
    gone = (
        "tags",
        "tag gone",
        ["tags.environment"],
        lambda: ec2.delete_tags(Resources=[made], Tags=[{"Key": "environment"}]),
    )
    put = _tags(outputs, lambda tags: ec2.create_tags(Resources=[made], Tags=_tag_list(tags)), chance)
    return [gone, *put]


def _of_vpc(made: str, outputs: Mapping[str, Any], client: Client, chance: random.Random) -> _Edits:
    ec2 = client("ec2")
    return [
        (
            "names",
            "host names on",
            ["enable_dns_hostnames"],
            lambda: ec2.modify_vpc_attribute(VpcId=made, EnableDnsHostnames={"Value": True}),
        ),
        *_ec2_tags(made, outputs, client, chance),
    ]


def _of_subnet(made: str, outputs: Mapping[str, Any], client: Client, chance: random.Random) -> _Edits:
    ec2 = client("ec2")
    return [
        (
            "public",
            "public addresses on",
            ["map_public_ip_on_launch"],
            lambda: ec2.modify_subnet_attribute(SubnetId=made, MapPublicIpOnLaunch={"Value": True}),
        ),
        *_ec2_tags(made, outputs, client, chance),
    ]


def _of_group(made: str, outputs: Mapping[str, Any], client: Client, chance: random.Random) -> _Edits:
    ec2 = client("ec2")

    def rule(port: int, *sources: str, told: str = "") -> dict[str, Any]:
        ranges = [{"CidrIp": source, **({"Description": told} if told else {})} for source in sources]
        return {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": ranges}

    def add(one: dict[str, Any]) -> Any:
        return ec2.authorize_security_group_ingress(GroupId=made, IpPermissions=[one])

    def take(one: dict[str, Any]) -> Any:
        return ec2.revoke_security_group_ingress(GroupId=made, IpPermissions=[one])

    def renamed() -> None:
        take(rule(443, "10.1.0.0/16", told="inside"))
        add(rule(443, "10.1.0.0/16", told="by hand"))

    def again() -> None:
        both = rule(443, "10.1.0.0/16", "10.0.0.0/16", told="inside")
        take(both)
        add(both)

    everything = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    return [
        ("22", "port opened", [f"ingress{OPEN}"], lambda: add(rule(22, "0.0.0.0/0", told="by hand"))),
        ("443", "rule described otherwise", [f"ingress{INSIDE}.description"], renamed),
        ("443", "rule gone", [f"ingress{INSIDE}"], lambda: take(rule(443, "10.1.0.0/16", told="inside"))),
        ("443", "rules taken away and added in another order", [], again),
        (
            "8080",
            "rule gone",
            ['ingress["tcp 8080-8080 10.2.0.0/16"]'],
            lambda: take(rule(8080, "10.2.0.0/16")),
        ),
        (
            "out",
            "nothing goes out",
            ['egress["all all 0.0.0.0/0"]'],
            lambda: ec2.revoke_security_group_egress(GroupId=made, IpPermissions=[everything]),
        ),
        *_ec2_tags(made, outputs, client, chance),
    ]


def _of_instance(made: str, outputs: Mapping[str, Any], client: Client, chance: random.Random) -> _Edits:
    ec2 = client("ec2")
    return [
        ("state", "stopped", ["state"], lambda: ec2.stop_instances(InstanceIds=[made])),
        (
            "protected",
            "protected",
            ["termination_protection"],
            lambda: ec2.modify_instance_attribute(InstanceId=made, DisableApiTermination={"Value": True}),
        ),
        ("", "terminated", ["missing"], lambda: ec2.terminate_instances(InstanceIds=[made])),
        *_ec2_tags(made, outputs, client, chance),
    ]


def _of_queue(_name: str, outputs: Mapping[str, Any], client: Client, chance: random.Random) -> _Edits:
    sqs, url = client("sqs"), outputs["url"]

    def set_all(attributes: dict[str, str]) -> Any:
        # moto forgets a queue's policy with every change of another attribute; AWS does not.
        there = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"]).get("Attributes", {})
        return sqs.set_queue_attributes(QueueUrl=url, Attributes={**there, **attributes})

    def put(**attributes: str) -> Callable[[], Any]:
        return lambda: set_all(attributes)

    redrive: _Edits = []
    if outputs["dead_letter_arn"]:
        looser = {"maxReceiveCount": 50, "deadLetterTargetArn": outputs["dead_letter_arn"]}
        redrive = [
            ("redrive", "more tries", ["max_receive_count"], put(RedrivePolicy=json.dumps(looser))),
            (
                "redrive",
                "redrive written otherwise",
                [],
                put(RedrivePolicy=json.dumps({**looser, "maxReceiveCount": 5}, indent=1)),
            ),
            ("", "deleted", ["missing"], lambda: sqs.delete_queue(QueueUrl=url)),
        ]
    return [
        ("visible", "visibility changed", ["visibility_timeout"], put(VisibilityTimeout="77")),
        ("delay", "delay changed", ["delay_seconds"], put(DelaySeconds="9")),
        ("sealed", "encryption off", ["encryption"], put(SqsManagedSseEnabled="false")),
        ("policy", "policy added", ["policy"], put(Policy=_other(chance))),
        ("messages", "message sent", [], lambda: sqs.send_message(QueueUrl=url, MessageBody="a")),
        *redrive,
        *_tags(outputs, lambda tags: sqs.tag_queue(QueueUrl=url, Tags=tags), chance),
    ]


def _of_table(name: str, outputs: Mapping[str, Any], client: Client, chance: random.Random) -> _Edits:
    table = client("dynamodb")
    throughput = {"ReadCapacityUnits": 4, "WriteCapacityUnits": 3}
    item = {"id": {"S": "a"}, "at": {"S": "b"}}
    return [
        (
            "backups",
            "recovery off",
            ["point_in_time_recovery"],
            lambda: table.update_continuous_backups(
                TableName=name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": False}
            ),
        ),
        (
            "ttl",
            "expiry on",
            ["ttl_attribute"],
            lambda: table.update_time_to_live(
                TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "ends"}
            ),
        ),
        (
            "billing",
            "provisioned",
            ["billing_mode", "read_capacity", "write_capacity"],
            lambda: table.update_table(
                TableName=name, BillingMode="PROVISIONED", ProvisionedThroughput=throughput
            ),
        ),
        (
            "protected",
            "protected",
            ["deletion_protection"],
            lambda: table.update_table(TableName=name, DeletionProtectionEnabled=True),
        ),
        ("items", "item put", [], lambda: table.put_item(TableName=name, Item=item)),
        *_tags(
            outputs,
            lambda tags: table.tag_resource(ResourceArn=outputs["arn"], Tags=_tag_list(tags)),
            chance,
        ),
    ]
