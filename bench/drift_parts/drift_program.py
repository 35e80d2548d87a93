"""The stack of the bench: resources of every type of the library, a number of each, as its configuration says."""

import json

import pulumi

from quantum_suite.services.infrastructure.library import aws

each = pulumi.Config().require_int("each")
TAGS = {"owner": "bench", "environment": "test"}


def trust(service):
    """Return who may take a role."""
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [statement]}


def allowing(*actions):
    """Return a document that allows actions."""
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": ["*"]}
    return {"Version": "2012-10-17", "Statement": [statement]}


vpc = aws.Vpc("network", cidr_block="10.20.0.0/16", tags=TAGS)
for number in range(each):
    bucket = aws.Bucket(
        f"bucket-{number}",
        versioning=True,
        tags=TAGS,
        policy=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": {
                    "Sid": "Tls",
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": ["s3:*"],
                    "Resource": "*",
                    "Condition": {"Bool": {"aws:SecureTransport": False}},
                },
            }
        ),
        lifecycle_rules=[{"id": "old", "prefix": "logs/", "expiration_days": 90}],
    )
    role = aws.Role(
        f"role-{number}",
        assume_role_policy=trust("ec2.amazonaws.com"),
        inline_policies={"own": allowing("s3:GetObject", "s3:ListBucket")},
        tags=TAGS,
    )
    policy = aws.Policy(f"policy-{number}", policy=allowing("sqs:SendMessage"), tags=TAGS)
    aws.RolePolicyAttachment(f"attachment-{number}", role=role.name, policy_arn=policy.arn)
    aws.User(f"user-{number}", inline_policies={"read": allowing("s3:GetObject")}, tags=TAGS)
    subnet = aws.Subnet(f"subnet-{number}", vpc_id=vpc.id, cidr_block=f"10.20.{number}.0/24", tags=TAGS)
    group = aws.SecurityGroup(
        f"group-{number}",
        vpc_id=vpc.id,
        ingress=[
            {"port": 443, "sources": ["10.1.0.0/16", "10.0.0.0/16"], "description": "inside"},
            {"port": 8080, "source": "10.2.0.0/16"},
        ],
        tags=TAGS,
    )
    aws.Instance(
        f"instance-{number}",
        ami="ami-12c6146b",
        subnet_id=subnet.id,
        security_group_ids=[group.id],
        tags=TAGS,
    )
    dead = aws.Queue(f"dead-{number}", tags=TAGS)
    aws.Queue(f"queue-{number}", dead_letter_arn=dead.arn, max_receive_count=5, tags=TAGS)
    aws.Table(f"table-{number}", hash_key="id", range_key="at", point_in_time_recovery=True, tags=TAGS)
pulumi.export("bucket", bucket.arn)
