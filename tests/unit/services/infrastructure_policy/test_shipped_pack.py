"""Each rule of the shipped pack, on a resource that breaks it and on one that does not."""

import json
from pathlib import Path
from typing import Any

import pytest

from quantum_suite.services.infrastructure.plan import PolicyVerdict
from quantum_suite.services.infrastructure_policy.packs import shipped_pack
from quantum_suite.services.infrastructure_policy.rego import RegoPolicyCheck

pytestmark = pytest.mark.anyio


def policy(**statement: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})


def ingress(low: int, high: int, source: str, protocol: str = "tcp", told: str = "why") -> dict[str, Any]:
    rule = {"protocol": protocol, "from_port": low, "to_port": high, "source": source, "description": told}
    return {"ingress": {"one": rule}}


PLAIN = policy(Action="s3:GetObject", Resource="*")
BLOCKS = {"block_public_acls": True, "block_public_policy": True}
ANYBODY = policy(Principal="*", Action="s3:GetObject", Resource="*")
NAMED = policy(Principal={"AWS": "arn:aws:iam::1:root"}, Action="s3:GetObject", Resource="*")
TLS = json.dumps(
    {
        "Statement": [
            {
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ]
    }
)
WORLD = "0.0.0.0/0"

CASES: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    (
        "s3-public-access",
        "aws:Bucket",
        {"public_access_block": {**BLOCKS, "block_public_acls": False}},
        {"public_access_block": BLOCKS},
    ),
    ("s3-public-policy", "aws:Bucket", {"policy": ANYBODY}, {"policy": NAMED}),
    ("s3-encryption", "aws:Bucket", {"encryption": "none"}, {"encryption": "AES256"}),
    ("s3-versioning", "aws:Bucket", {"versioning": False}, {"versioning": True}),
    ("s3-tls-only", "aws:Bucket", {"policy": ""}, {"policy": TLS}),
    ("s3-force-destroy", "aws:Bucket", {"force_destroy": True}, {"force_destroy": False}),
    ("iam-admin", "aws:Policy", {"policy": policy(Action="*", Resource="*")}, {"policy": PLAIN}),
    ("iam-admin", "aws:Role", {"inline_policies": {"a": policy(Action=["*"], Resource=["*"])}}, {}),
    ("iam-action-wildcard", "aws:Policy", {"policy": policy(Action="s3:*", Resource="*")}, {"policy": PLAIN}),
    ("iam-not-action", "aws:Policy", {"policy": policy(NotAction="iam:*", Resource="*")}, {"policy": PLAIN}),
    (
        "iam-managed-admin",
        "aws:RolePolicyAttachment",
        {"policy_arn": "arn:aws:iam::aws:policy/AdministratorAccess"},
        {"policy_arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"},
    ),
    (
        "iam-managed-admin",
        "aws:User",
        {"policy_arns": ["arn:aws:iam::aws:policy/IAMFullAccess"]},
        {"policy_arns": []},
    ),
    (
        "iam-trust-anybody",
        "aws:Role",
        {"assume_role_policy": policy(Principal={"AWS": "*"}, Action="sts:AssumeRole")},
        {"assume_role_policy": policy(Principal={"Service": "ec2.amazonaws.com"}, Action="sts:AssumeRole")},
    ),
    (
        "iam-cross-account-external-id",
        "aws:Role",
        {"assume_role_policy": NAMED},
        {
            "assume_role_policy": policy(
                Principal={"AWS": "arn:aws:iam::1:root"}, Condition={"StringEquals": {"sts:ExternalId": "x"}}
            )
        },
    ),
    ("iam-user-inline-policy", "aws:User", {"inline_policies": {"a": PLAIN}}, {"inline_policies": {}}),
    ("iam-user", "aws:User", {"permissions_boundary": ""}, {"permissions_boundary": "arn:aws:iam::1:policy/b"}),
    ("sg-ssh-open", "aws:SecurityGroup", ingress(20, 25, WORLD), ingress(22, 22, "10.0.0.0/8")),
    ("sg-ssh-open", "aws:SecurityGroup", ingress(22, 22, "::/0"), ingress(443, 443, WORLD)),
    ("sg-rdp-open", "aws:SecurityGroup", ingress(3389, 3389, WORLD), ingress(3389, 3389, "sg-1")),
    ("sg-all-open", "aws:SecurityGroup", ingress(-1, -1, WORLD, "-1"), ingress(-1, -1, "10.0.0.0/8", "-1")),
    ("sg-all-open", "aws:SecurityGroup", ingress(0, 65535, WORLD), ingress(80, 80, WORLD)),
    ("sg-database-open", "aws:SecurityGroup", ingress(5432, 5432, WORLD), ingress(5432, 5432, "10.0.0.0/8")),
    (
        "sg-egress-all",
        "aws:SecurityGroup",
        {"egress": {"all": {"protocol": "-1", "source": WORLD}}},
        {"egress": {"one": {"protocol": "tcp", "from_port": 443, "to_port": 443, "source": WORLD}}},
    ),
    (
        "sg-rule-description",
        "aws:SecurityGroup",
        ingress(443, 443, "10.0.0.0/8", told=""),
        ingress(443, 443, "10.0.0.0/8"),
    ),
    ("ec2-imdsv2", "aws:Instance", {"metadata_tokens": "optional"}, {"metadata_tokens": "required"}),
    ("ec2-public-ip", "aws:Instance", {"associate_public_ip": True}, {"associate_public_ip": False}),
    ("ec2-unencrypted-volume", "aws:Instance", {"root_encrypted": False}, {"root_encrypted": True}),
    (
        "ec2-user-data-secret",
        "aws:Instance",
        {"user_data": "export DB_PASSWORD=correct-horse"},
        {"user_data": "export DB_HOST=db.internal"},
    ),
    (
        "subnet-public-ip",
        "aws:Subnet",
        {"map_public_ip_on_launch": True},
        {"map_public_ip_on_launch": False},
    ),
    ("sqs-encryption", "aws:Queue", {"encryption": "none"}, {"encryption": "sqs"}),
    ("sqs-public-policy", "aws:Queue", {"policy": ANYBODY}, {"policy": NAMED}),
    ("sqs-dead-letter", "aws:Queue", {"dead_letter_arn": ""}, {"dead_letter_arn": "arn:aws:sqs:::dead"}),
    ("dynamodb-recovery", "aws:Table", {"point_in_time_recovery": False}, {"point_in_time_recovery": True}),
    ("dynamodb-encryption", "aws:Table", {"kms_encryption": False}, {"kms_encryption": True}),
    ("dynamodb-deletion-protection", "aws:Table", {"deletion_protection": False}, {"deletion_protection": True}),
    ("tags-required", "aws:Vpc", {"tags": {"owner": "me"}}, {"tags": {"owner": "me", "environment": "test"}}),
    ("plain-secret", "Resource", {"db_password": "hunter2-hunter2"}, {"db_password": "[secret]"}),
    ("plain-secret", "commands:Command", {"environment": {"API_KEY": "hunter2-hunter2"}}, {"environment": {}}),
]


def resource(kind: str, urn: str, properties: dict[str, Any]) -> dict[str, Any]:
    return {"urn": urn, "type": kind, "kind": kind, "name": urn, "operation": "create", "properties": properties}


async def judged(resources: list[dict[str, Any]], folder: Path) -> list[PolicyVerdict]:
    return await RegoPolicyCheck().judged(resources, "project", "dev", folder)


async def test_every_rule_objects_to_what_breaks_it_and_to_nothing_else(tmp_path: Path) -> None:
    resources = []
    for number, (_, kind, bad, good) in enumerate(CASES):
        resources += [resource(kind, f"bad-{number}", bad), resource(kind, f"good-{number}", good)]

    verdicts = await judged(resources, tmp_path)

    objected = {(one.urn, one.rule) for one in verdicts}
    for number, (rule, _, _, _) in enumerate(CASES):
        assert (f"bad-{number}", rule) in objected, rule
        assert (f"good-{number}", rule) not in objected, rule
    rules = shipped_pack().description.rules
    assert {rule for rule, *_ in CASES} == set(rules)
    assert all(one.level == rules[one.rule].enforcement for one in verdicts)
    assert all(one.severity == rules[one.rule].severity for one in verdicts)
    assert [one.level == "mandatory" for one in verdicts] == sorted(
        (one.level == "mandatory" for one in verdicts), reverse=True
    )


async def test_what_is_not_known_yet_breaks_no_rule_by_that(tmp_path: Path) -> None:
    unknown = dict.fromkeys(
        ("policy", "encryption", "versioning", "public_access_block", "tags", "ingress"), "[unknown]"
    )
    kinds = ("aws:Bucket", "aws:SecurityGroup", "aws:Queue")

    assert await judged([resource(kind, kind, unknown) for kind in kinds], tmp_path) == []
