"""EC2: networks, subnets, security groups and instances.

The providers are here too: a state pickles them by name, and there are states that name this package.
"""

from quantum_suite.services.infrastructure.library.aws.ec2.instances import Instance, InstanceProvider
from quantum_suite.services.infrastructure.library.aws.ec2.networks import Subnet, SubnetProvider, Vpc, VpcProvider
from quantum_suite.services.infrastructure.library.aws.ec2.security_groups import (
    SecurityGroup,
    SecurityGroupProvider,
)

__all__ = [
    "Instance",
    "InstanceProvider",
    "SecurityGroup",
    "SecurityGroupProvider",
    "Subnet",
    "SubnetProvider",
    "Vpc",
    "VpcProvider",
]
