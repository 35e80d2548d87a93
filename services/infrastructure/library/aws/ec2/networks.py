"""Networks and their subnets."""

from collections.abc import Mapping
from typing import Any

import pulumi

from quantum_suite.services.infrastructure.library.aws.ec2.tagged import TaggedProvider
from quantum_suite.services.infrastructure.library.aws.provider import WAIT, AwsResource, absent_is_fine, tag_map
from quantum_suite.services.infrastructure.library.properties import Property, flag, text, text_map


class VpcProvider(TaggedProvider):
    """Networks."""

    word = "network"
    resource_type, listing, found_under, id_filter = "vpc", "describe_vpcs", "Vpcs", "vpc-id"
    properties = {  # noqa: RUF012 - read only, and typed by the base
        "cidr_block": Property(normal=text, replaces=True),
        "enable_dns_support": Property(True, flag),
        "enable_dns_hostnames": Property(False, flag),
        "tags": Property({}, text_map),
    }

    def make(self, inputs: Mapping[str, Any]) -> str:
        """Create the network."""
        answer = self.service("ec2").create_vpc(
            CidrBlock=inputs["cidr_block"], TagSpecifications=self.marked(inputs)
        )
        made = str(answer["Vpc"]["VpcId"])
        self.service("ec2").get_waiter("vpc_available").wait(VpcIds=[made], WaiterConfig=WAIT)
        return made

    def bring(self, made: str, olds: Mapping[str, Any], news: Mapping[str, Any], names: list[str]) -> None:
        """Set the two switches of name resolution, one call each, as AWS wants it."""
        switches = {"enable_dns_support": "EnableDnsSupport", "enable_dns_hostnames": "EnableDnsHostnames"}
        for name, theirs in switches.items():
            if name in names:
                self.service("ec2").modify_vpc_attribute(VpcId=made, **{theirs: {"Value": bool(news[name])}})
        self.bring_tags(made, olds, news, names)

    def observe(self, made: str, known: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
        """Return the network."""
        found = self.described(made)
        if found is None:
            return None
        made, ec2 = found["VpcId"], self.service("ec2")
        support = ec2.describe_vpc_attribute(VpcId=made, Attribute="enableDnsSupport")["EnableDnsSupport"]
        names = ec2.describe_vpc_attribute(VpcId=made, Attribute="enableDnsHostnames")["EnableDnsHostnames"]
        return made, {
            "cidr_block": found["CidrBlock"],
            "enable_dns_support": bool(support["Value"]),
            "enable_dns_hostnames": bool(names["Value"]),
            "tags": tag_map(found.get("Tags")),
            "arn": self.account_arn("vpc", made, found.get("OwnerId", "")),
        }

    def remove(self, made: str, known: Mapping[str, Any]) -> None:
        """Delete the network; nothing may be in it."""
        with absent_is_fine("InvalidVpcID.NotFound"):
            self.service("ec2").delete_vpc(VpcId=made)


class SubnetProvider(TaggedProvider):
    """Subnets."""

    word = "subnet"
    resource_type, listing, found_under, id_filter = "subnet", "describe_subnets", "Subnets", "subnet-id"
    properties = {  # noqa: RUF012 - read only, and typed by the base
        "vpc_id": Property(normal=text, replaces=True),
        "cidr_block": Property(normal=text, replaces=True),
        "availability_zone": Property(None, text, replaces=True),
        "map_public_ip_on_launch": Property(False, flag),
        "tags": Property({}, text_map),
    }

    def make(self, inputs: Mapping[str, Any]) -> str:
        """Create the subnet."""
        zone = inputs.get("availability_zone")
        answer = self.service("ec2").create_subnet(
            VpcId=inputs["vpc_id"],
            CidrBlock=inputs["cidr_block"],
            TagSpecifications=self.marked(inputs),
            **({"AvailabilityZone": zone} if zone else {}),
        )
        made = str(answer["Subnet"]["SubnetId"])
        self.service("ec2").get_waiter("subnet_available").wait(SubnetIds=[made], WaiterConfig=WAIT)
        return made

    def bring(self, made: str, olds: Mapping[str, Any], news: Mapping[str, Any], names: list[str]) -> None:
        """Set whether what starts here gets a public address, and tags."""
        if "map_public_ip_on_launch" in names:
            wanted = {"Value": bool(news["map_public_ip_on_launch"])}
            self.service("ec2").modify_subnet_attribute(SubnetId=made, MapPublicIpOnLaunch=wanted)
        self.bring_tags(made, olds, news, names)

    def observe(self, made: str, known: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
        """Return the subnet."""
        found = self.described(made)
        if found is None:
            return None
        return found["SubnetId"], {
            "vpc_id": found["VpcId"],
            "cidr_block": found["CidrBlock"],
            "availability_zone": found["AvailabilityZone"],
            "map_public_ip_on_launch": bool(found["MapPublicIpOnLaunch"]),
            "tags": tag_map(found.get("Tags")),
            "arn": found["SubnetArn"],
        }

    def remove(self, made: str, known: Mapping[str, Any]) -> None:
        """Delete the subnet; nothing may be in it."""
        with absent_is_fine("InvalidSubnetID.NotFound"):
            self.service("ec2").delete_subnet(SubnetId=made)


class Vpc(AwsResource, module="aws", name="Vpc"):
    """A network: cidr_block, enable_dns_support, enable_dns_hostnames, tags."""

    provider_type = VpcProvider
    arn: pulumi.Output[str]


class Subnet(AwsResource, module="aws", name="Subnet"):
    """A subnet: vpc_id, cidr_block, availability_zone, map_public_ip_on_launch, tags."""

    provider_type = SubnetProvider
    arn: pulumi.Output[str]
