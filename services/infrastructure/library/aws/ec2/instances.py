"""Instances."""

from collections.abc import Iterator, Mapping
from typing import Any

import pulumi

from quantum_suite.services.infrastructure.library.aws.ec2.tagged import TaggedProvider
from quantum_suite.services.infrastructure.library.aws.provider import (
    WAIT,
    AwsResource,
    absent_is_fine,
    or_absent,
    tag_map,
)
from quantum_suite.services.infrastructure.library.properties import Property, choice, flag, text, text_map, texts

_ENDED = ("shutting-down", "terminated")
_ROOT_GIB = 8


class InstanceProvider(TaggedProvider):
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
        ec2 = self.service("ec2")
        with absent_is_fine("InvalidInstanceID.NotFound"):
            ec2.terminate_instances(InstanceIds=[made])
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


class Instance(AwsResource, module="aws", name="Instance"):
    """An instance: ami, instance_type, subnet_id, security_group_ids, associate_public_ip, key_name,
    iam_instance_profile, user_data, metadata_tokens, root_device, root_encrypted, monitoring,
    termination_protection, state (running or stopped), tags."""

    provider_type = InstanceProvider
    computed = ("arn", "private_ip")
    arn: pulumi.Output[str]
    private_ip: pulumi.Output[str]
