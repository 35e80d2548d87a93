"""EC2: networks, subnets, security groups and instances. Their ids are made up by AWS; a tag finds them again."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pulumi

from quantum_suite.services.infrastructure.library.aws.provider import (
    TOKEN,
    TOKEN_TAG,
    WAIT,
    AwsProvider,
    AwsResource,
    absent_is_fine,
    error_code,
    or_absent,
    tag_changes,
    tag_list,
    tag_map,
)
from quantum_suite.services.infrastructure.library.aws.rules import Rules, read_rules, rules, their_rule
from quantum_suite.services.infrastructure.library.properties import (
    IDENTITY,
    Property,
    choice,
    flag,
    text,
    text_map,
    texts,
)

_BY_TAG = "token:"
_ENDED = ("shutting-down", "terminated")
_ROOT_GIB = 8


class _TaggedProvider(AwsProvider):
    """What is found by its tag until its id is known."""

    resource_type = ""
    """As tag specifications call it."""
    listing = ""
    """The call that describes it, and where its answer has what was found."""
    found_under = ""
    id_filter = ""

    def identity(self, inputs: Mapping[str, Any]) -> str:
        """Return the tag's value: another one for each resource, and for each successor of a resource."""
        deciding = {name: inputs.get(name) for name in self.identifying()}
        digest = hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:16]
        return f"{_BY_TAG}{inputs.get(TOKEN, '')}-{digest}"

    def identifying(self) -> tuple[str, ...]:
        """Return the inputs that cannot be changed."""
        return tuple(name for name, one in self.properties.items() if one.replaces)

    def marked(self, inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the tags to create it with."""
        tags = {**(inputs.get("tags") or {}), TOKEN_TAG: inputs.get(IDENTITY) or self.identity(inputs)}
        return [{"ResourceType": self.resource_type, "Tags": tag_list(tags)}]

    def described(self, made: str) -> dict[str, Any] | None:
        """Return what AWS says of it, by its id or its tag."""
        name, wanted = (f"tag:{TOKEN_TAG}", made) if made.startswith(_BY_TAG) else (self.id_filter, made)
        pages = (
            self.service("ec2").get_paginator(self.listing).paginate(Filters=[{"Name": name, "Values": [wanted]}])
        )
        found = [one for page in pages for one in self.items(page)]
        return found[0] if found else None

    def items(self, page: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return what a page of descriptions holds."""
        return list(page[self.found_under])

    def bring_tags(self, made: str, olds: Mapping[str, Any], news: Mapping[str, Any], names: list[str]) -> None:
        """Set tags; they were given on creation already."""
        if olds and "tags" in names:
            tags, gone = tag_changes(olds, news)
            if gone:
                self.service("ec2").delete_tags(Resources=[made], Tags=[{"Key": key} for key in gone])
            if tags:
                self.service("ec2").create_tags(Resources=[made], Tags=tag_list(tags))

    def account_arn(self, kind: str, made: str, owner: str) -> str:
        """Return the ARN of something in this region."""
        return f"arn:aws:ec2:{self.service('ec2').meta.region_name}:{owner}:{kind}/{made}"


class VpcProvider(_TaggedProvider):
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


class SubnetProvider(_TaggedProvider):
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


class SecurityGroupProvider(_TaggedProvider):
    """Security groups with all their rules: others are taken away."""

    word = "security group"
    resource_type, listing, found_under = "security-group", "describe_security_groups", "SecurityGroups"
    id_filter = "group-id"
    properties = {  # noqa: RUF012 - read only, and typed by the base
        "name": Property(normal=text, replaces=True),
        "description": Property("Managed by Quantum Suite", text, replaces=True),
        "vpc_id": Property(None, text, replaces=True),
        "ingress": Property({}, rules),
        "egress": Property(rules([{"protocol": "-1", "source": "0.0.0.0/0"}]), rules),
        "tags": Property({}, text_map),
    }

    def make(self, inputs: Mapping[str, Any]) -> str:
        """Create the group; AWS lets everything out of a new one."""
        network = {"VpcId": inputs["vpc_id"]} if inputs.get("vpc_id") else {}
        answer = self.service("ec2").create_security_group(
            GroupName=inputs["name"],
            Description=inputs["description"],
            TagSpecifications=self.marked(inputs),
            **network,
        )
        made = str(answer["GroupId"])
        self.service("ec2").get_waiter("security_group_exists").wait(GroupIds=[made], WaiterConfig=WAIT)
        return made

    def bring(self, made: str, olds: Mapping[str, Any], news: Mapping[str, Any], names: list[str]) -> None:
        """Add the rules that are missing, then take away what is not wanted, so that nothing is cut off meanwhile.

        What there is is read first: rules that are there by default, or were added by hand, count too.
        """
        if {"ingress", "egress"}.intersection(names):
            found = self.described(made) or {}
            for direction, key in (("ingress", "IpPermissions"), ("egress", "IpPermissionsEgress")):
                if direction in names:
                    self._bring_rules(made, direction, read_rules(found.get(key, [])), news[direction])
        self.bring_tags(made, olds, news, names)

    def _bring_rules(self, made: str, direction: str, there: Rules, wanted: Rules) -> None:
        ec2 = self.service("ec2")
        stale = [there[key] for key in there if there[key] != wanted.get(key)]
        missing = [wanted[key] for key in wanted if there.get(key) != wanted[key]]
        changed = [there[key] for key in there if key in wanted and there[key] != wanted[key]]
        if changed:
            # A rule that differs in its description alone is the same rule to AWS: it has to go first.
            getattr(ec2, f"revoke_security_group_{direction}")(
                GroupId=made, IpPermissions=list(map(their_rule, changed))
            )
            stale = [rule for rule in stale if rule not in changed]
        if missing:
            with absent_is_fine("InvalidPermission.Duplicate"):
                getattr(ec2, f"authorize_security_group_{direction}")(
                    GroupId=made, IpPermissions=list(map(their_rule, missing))
                )
        if stale:
            with absent_is_fine("InvalidPermission.NotFound"):
                getattr(ec2, f"revoke_security_group_{direction}")(
                    GroupId=made, IpPermissions=list(map(their_rule, stale))
                )

    def observe(self, made: str, known: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
        """Return the group with all its rules."""
        found = self.described(made)
        if found is None:
            return None
        made = found["GroupId"]
        return made, {
            "name": found["GroupName"],
            "description": found["Description"],
            **({"vpc_id": found["VpcId"]} if found.get("VpcId") else {}),
            "ingress": read_rules(found.get("IpPermissions", [])),
            "egress": read_rules(found.get("IpPermissionsEgress", [])),
            "tags": tag_map(found.get("Tags")),
            "arn": self.account_arn("security-group", made, found.get("OwnerId", "")),
        }

    def remove(self, made: str, known: Mapping[str, Any]) -> None:
        """Delete the group; nothing may use it."""
        with absent_is_fine("InvalidGroup.NotFound", "InvalidGroupId.Malformed"):
            self.service("ec2").delete_security_group(GroupId=made)


class InstanceProvider(_TaggedProvider):
    """Instances."""

    word = "instance"
    resource_type, listing, id_filter = "instance", "describe_instances", "instance-id"
    properties = {  # noqa: RUF012 - read only, and typed by the base
        "ami": Property(normal=text, replaces=True),
        "instance_type": Property("t3.micro", text),
        "subnet_id": Property(None, text, replaces=True),
        "security_group_ids": Property(None, texts),
        "associate_public_ip": Property(False, flag, replaces=True),
        "key_name": Property("", text, replaces=True),
        "iam_instance_profile": Property("", text, replaces=True),
        "user_data": Property("", text, replaces=True),
        "metadata_tokens": Property("required", choice("required", "optional")),
        "root_device": Property("", text, replaces=True),
        "root_encrypted": Property(True, flag, replaces=True),
        "monitoring": Property(False, flag),
        "termination_protection": Property(False, flag),
        "state": Property("running", choice("running", "stopped")),
        "tags": Property({}, text_map),
    }

    def items(self, page: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the instances of a page that are not at their end."""
        found = [one for reservation in page["Reservations"] for one in reservation["Instances"]]
        return [one for one in found if one["State"]["Name"] not in _ENDED]

    def make(self, inputs: Mapping[str, Any]) -> str:
        """Start one instance, and wait until it runs."""
        ec2 = self.service("ec2")
        network: dict[str, Any] = {
            "DeviceIndex": 0,
            "AssociatePublicIpAddress": bool(inputs["associate_public_ip"]),
        }
        if inputs.get("subnet_id"):
            network["SubnetId"] = inputs["subnet_id"]
        if inputs.get("security_group_ids"):
            network["Groups"] = list(inputs["security_group_ids"])
        device, size = self._root_volume(inputs["ami"])
        optional = {
            "KeyName": inputs["key_name"],
            "UserData": inputs["user_data"],
            "IamInstanceProfile": (
                {"Name": inputs["iam_instance_profile"]} if inputs["iam_instance_profile"] else None
            ),
        }
        answer = ec2.run_instances(
            ImageId=inputs["ami"],
            InstanceType=inputs["instance_type"],
            MinCount=1,
            MaxCount=1,
            NetworkInterfaces=[network],
            BlockDeviceMappings=[
                {
                    "DeviceName": inputs["root_device"] or device,
                    "Ebs": {"Encrypted": bool(inputs["root_encrypted"]), "VolumeSize": size},
                }
            ],
            MetadataOptions={"HttpTokens": inputs["metadata_tokens"], "HttpEndpoint": "enabled"},
            Monitoring={"Enabled": bool(inputs["monitoring"])},
            DisableApiTermination=bool(inputs["termination_protection"]),
            TagSpecifications=self.marked(inputs),
            **{name: value for name, value in optional.items() if value},
        )
        made = str(answer["Instances"][0]["InstanceId"])
        ec2.get_waiter("instance_running").wait(InstanceIds=[made], WaiterConfig=WAIT)
        return made

    def _root_volume(self, image: str) -> tuple[str, int]:
        """Return the image's root device, and how many GiB it is made with."""
        found = self.service("ec2").describe_images(ImageIds=[image])["Images"]
        device = str((found[0].get("RootDeviceName") if found else "") or "/dev/xvda")
        volumes = [one for one in (found[0].get("BlockDeviceMappings", ()) if found else ()) if "Ebs" in one]
        sizes = [one["Ebs"].get("VolumeSize") for one in volumes if one.get("DeviceName") == device]
        return device, int((sizes and sizes[0]) or _ROOT_GIB)

    def bring(self, made: str, olds: Mapping[str, Any], news: Mapping[str, Any], names: list[str]) -> None:
        """Change what can be changed; for another type the instance is stopped and started."""
        ec2 = self.service("ec2")
        if not olds:
            if news["state"] == "stopped":
                self._stop(made)
            return
        if "metadata_tokens" in names:
            ec2.modify_instance_metadata_options(InstanceId=made, HttpTokens=news["metadata_tokens"])
        if "monitoring" in names:
            change = ec2.monitor_instances if news["monitoring"] else ec2.unmonitor_instances
            change(InstanceIds=[made])
        if "termination_protection" in names:
            self._modify(made, DisableApiTermination={"Value": bool(news["termination_protection"])})
        if "security_group_ids" in names and news.get("security_group_ids"):
            self._modify(made, Groups=list(news["security_group_ids"]))
        if "instance_type" in names:
            self._stop(made)
            self._modify(made, InstanceType={"Value": news["instance_type"]})
        if {"instance_type", "state"}.intersection(names):
            if news["state"] == "stopped":
                self._stop(made)
            else:
                ec2.start_instances(InstanceIds=[made])
                ec2.get_waiter("instance_running").wait(InstanceIds=[made], WaiterConfig=WAIT)
        self.bring_tags(made, olds, news, names)

    def _modify(self, made: str, **change: Any) -> None:
        self.service("ec2").modify_instance_attribute(InstanceId=made, **change)

    def _stop(self, made: str) -> None:
        self.service("ec2").stop_instances(InstanceIds=[made])
        self.service("ec2").get_waiter("instance_stopped").wait(InstanceIds=[made], WaiterConfig=WAIT)

    def observe(self, made: str, known: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
        """Return the instance. What AWS does not tell as it was given (user data) is as it is known."""
        found = self.described(made)
        if found is None:
            return None
        made = found["InstanceId"]
        profile = found.get("IamInstanceProfile", {}).get("Arn", "")
        carried = {
            "associate_public_ip": bool(known.get("associate_public_ip", bool(found.get("PublicIpAddress")))),
            "user_data": known.get("user_data") or "",
            "root_device": known.get("root_device") or "",
        }
        return made, {
            **carried,
            "ami": found["ImageId"],
            "instance_type": found["InstanceType"],
            **({"subnet_id": found["SubnetId"]} if found.get("SubnetId") else {}),
            "security_group_ids": _groups_of(found),
            "key_name": found.get("KeyName", ""),
            "iam_instance_profile": profile.rpartition("/")[2],
            "metadata_tokens": found.get("MetadataOptions", {}).get("HttpTokens", "optional"),
            "root_encrypted": self._encrypted(found, bool(known.get("root_encrypted", False))),
            "monitoring": found.get("Monitoring", {}).get("State") in ("enabled", "pending"),
            "termination_protection": self._protected(made),
            "state": "stopped" if found["State"]["Name"] in ("stopped", "stopping") else "running",
            "tags": tag_map(found.get("Tags")),
            "private_ip": found.get("PrivateIpAddress", ""),
            "arn": self.account_arn(
                "instance", made, (found.get("NetworkInterfaces") or [{}])[0].get("OwnerId", "")
            ),
        }

    def _encrypted(self, found: Mapping[str, Any], known: bool) -> bool:
        root = found.get("RootDeviceName")
        volumes = [
            one["Ebs"]["VolumeId"]
            for one in found.get("BlockDeviceMappings", [])
            if one.get("DeviceName") == root and "Ebs" in one
        ]
        if not volumes:
            return known
        answer = or_absent(
            lambda: self.service("ec2").describe_volumes(VolumeIds=volumes), "InvalidVolume.NotFound"
        )
        return all(one["Encrypted"] for one in answer["Volumes"]) if answer else known

    def _protected(self, made: str) -> bool:
        answer = self.service("ec2").describe_instance_attribute(
            InstanceId=made, Attribute="disableApiTermination"
        )
        return bool(answer["DisableApiTermination"]["Value"])

    def remove(self, made: str, known: Mapping[str, Any]) -> None:
        """Terminate the instance, and wait until it is at its end."""
        from botocore.exceptions import ClientError

        ec2 = self.service("ec2")
        try:
            ec2.terminate_instances(InstanceIds=[made])
        except ClientError as error:
            if error_code(error) == "InvalidInstanceID.NotFound":
                return
            raise
        ec2.get_waiter("instance_terminated").wait(InstanceIds=[made], WaiterConfig=WAIT)

    def problems(self, inputs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield an empty list of groups, which AWS would fill with its default group."""
        if inputs.get("security_group_ids") == []:
            yield "security_group_ids", "name at least one group, or leave it out for the network's default group"


def _groups_of(found: Mapping[str, Any]) -> list[str]:
    """Return the groups of an instance; those of its first interface where it has none of its own."""
    interfaces = found.get("NetworkInterfaces") or [{}]
    groups = found.get("SecurityGroups") or interfaces[0].get("Groups", [])
    return sorted(one["GroupId"] for one in groups)


class Vpc(AwsResource, module="aws", name="Vpc"):
    """A network: cidr_block, enable_dns_support, enable_dns_hostnames, tags."""

    provider_type = VpcProvider
    arn: pulumi.Output[str]


class Subnet(AwsResource, module="aws", name="Subnet"):
    """A subnet: vpc_id, cidr_block, availability_zone, map_public_ip_on_launch, tags."""

    provider_type = SubnetProvider
    arn: pulumi.Output[str]


class SecurityGroup(AwsResource, module="aws", name="SecurityGroup"):
    """A security group: name, description, vpc_id, ingress and egress (all rules there are: protocol, from_port,
    to_port, source, which is a network, sg-... or pl-..., description), tags."""

    provider_type = SecurityGroupProvider
    name: pulumi.Output[str]
    arn: pulumi.Output[str]


class Instance(AwsResource, module="aws", name="Instance"):
    """An instance: ami, instance_type, subnet_id, security_group_ids, associate_public_ip, key_name,
    iam_instance_profile, user_data, metadata_tokens, root_device, root_encrypted, monitoring,
    termination_protection, state (running or stopped), tags."""

    provider_type = InstanceProvider
    computed = ("arn", "private_ip")
    arn: pulumi.Output[str]
    private_ip: pulumi.Output[str]
