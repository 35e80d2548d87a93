"""AWS basics by boto3, for programs: what a stack needs most, without a plugin."""

from quantum_suite.services.infrastructure.library.aws.dynamodb import Table
from quantum_suite.services.infrastructure.library.aws.ec2 import Instance, SecurityGroup, Subnet, Vpc
from quantum_suite.services.infrastructure.library.aws.iam import Policy, Role, RolePolicyAttachment, User
from quantum_suite.services.infrastructure.library.aws.provider import Connection
from quantum_suite.services.infrastructure.library.aws.s3 import Bucket
from quantum_suite.services.infrastructure.library.aws.sqs import Queue

__all__ = [
    "Bucket",
    "Connection",
    "Instance",
    "Policy",
    "Queue",
    "Role",
    "RolePolicyAttachment",
    "SecurityGroup",
    "Subnet",
    "Table",
    "User",
    "Vpc",
]
