"""Security groups."""

from collections.abc import Mapping
from typing import Any

import pulumi

from quantum_suite.services.infrastructure.library.aws.ec2.rules import Rules, read_rules, rules, their_rule
from quantum_suite.services.infrastructure.library.aws.ec2.tagged import TaggedProvider
from quantum_suite.services.infrastructure.library.aws.provider import WAIT, AwsResource, absent_is_fine, tag_map
from quantum_suite.services.infrastructure.library.properties import Property, text, text_map


class SecurityGroupProvider(TaggedProvider):
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


class SecurityGroup(AwsResource, module="aws", name="SecurityGroup"):
    """A security group: name, description, vpc_id, ingress and egress (all rules there are: protocol, from_port,
    to_port, source, which is a network, sg-... or pl-..., description), tags."""

    provider_type = SecurityGroupProvider
    name: pulumi.Output[str]
    arn: pulumi.Output[str]
