"""DynamoDB tables."""

from collections.abc import Iterator, Mapping
from typing import Any

import pulumi

from quantum_suite.services.infrastructure.library.aws.provider import (
    WAIT,
    AwsProvider,
    AwsResource,
    absent_is_fine,
    or_absent,
    tag_changes,
    tag_list,
    tag_map,
)
from quantum_suite.services.infrastructure.library.properties import (
    Property,
    choice,
    flag,
    number,
    text,
    text_map,
)

_GONE = ("ResourceNotFoundException",)
_TYPES = choice("S", "N", "B")


class TableProvider(AwsProvider):
    """Tables, by their name."""

    word = "table"
    properties = {  # noqa: RUF012 - read only, and typed by the base
        "name": Property(normal=text, replaces=True),
        "hash_key": Property(normal=text, replaces=True),
        "hash_key_type": Property("S", _TYPES, replaces=True),
        "range_key": Property("", text, replaces=True),
        "range_key_type": Property("S", _TYPES, replaces=True),
        "billing_mode": Property("PAY_PER_REQUEST", choice("PAY_PER_REQUEST", "PROVISIONED")),
        "read_capacity": Property(0, number(0, 1_000_000)),
        "write_capacity": Property(0, number(0, 1_000_000)),
        "point_in_time_recovery": Property(False, flag),
        "kms_encryption": Property(False, flag),
        "deletion_protection": Property(False, flag),
        "ttl_attribute": Property("", text),
        "tags": Property({}, text_map),
    }

    def problems(self, inputs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield capacities that do not go with the billing mode."""
        provisioned = inputs.get("billing_mode") == "PROVISIONED"
        for name in ("read_capacity", "write_capacity"):
            if bool(inputs.get(name)) != provisioned:
                yield name, "capacities go with billing_mode PROVISIONED, and only with it"

    def make(self, inputs: Mapping[str, Any]) -> str:
        """Create the table, and wait until it is there."""
        keys = [(inputs["hash_key"], inputs["hash_key_type"], "HASH")]
        if inputs["range_key"]:
            keys.append((inputs["range_key"], inputs["range_key_type"], "RANGE"))
        self.service("dynamodb").create_table(
            TableName=inputs["name"],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": kind} for name, kind, _ in keys],
            KeySchema=[{"AttributeName": name, "KeyType": role} for name, _, role in keys],
            DeletionProtectionEnabled=bool(inputs["deletion_protection"]),
            SSESpecification={"Enabled": bool(inputs["kms_encryption"])},
            **_billing(inputs),
        )
        self._settled(inputs["name"])
        return str(inputs["name"])

    def _settled(self, name: str) -> None:
        self.service("dynamodb").get_waiter("table_exists").wait(TableName=name, WaiterConfig=WAIT)

    def bring(self, made: str, olds: Mapping[str, Any], news: Mapping[str, Any], names: list[str]) -> None:
        """Set what is to be set, one change after another, as the service wants it."""
        table = self.service("dynamodb")
        if olds:
            for change in _table_changes(news, names):
                table.update_table(TableName=made, **change)
                self._settled(made)
        if "point_in_time_recovery" in names and (news["point_in_time_recovery"] or olds):
            wanted = {"PointInTimeRecoveryEnabled": bool(news["point_in_time_recovery"])}
            table.update_continuous_backups(TableName=made, PointInTimeRecoverySpecification=wanted)
        if "ttl_attribute" in names and news["ttl_attribute"] != olds.get("ttl_attribute", ""):
            self._set_ttl(made, olds.get("ttl_attribute", ""), news["ttl_attribute"])
        if "tags" in names:
            arn = table.describe_table(TableName=made)["Table"]["TableArn"]
            tags, gone = tag_changes(olds, news)
            if gone:
                table.untag_resource(ResourceArn=arn, TagKeys=gone)
            if tags:
                table.tag_resource(ResourceArn=arn, Tags=tag_list(tags))

    def _set_ttl(self, made: str, before: str, after: str) -> None:
        for attribute, wanted in ((before, False), (after, True)):
            if attribute:
                setting = {"Enabled": wanted, "AttributeName": attribute}
                self.service("dynamodb").update_time_to_live(TableName=made, TimeToLiveSpecification=setting)

    def observe(self, made: str, known: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
        """Return the table."""
        client = self.service("dynamodb")
        answer = or_absent(lambda: client.describe_table(TableName=made), *_GONE)
        if answer is None or answer["Table"].get("TableStatus") == "DELETING":
            return None
        found = answer["Table"]
        types = {one["AttributeName"]: one["AttributeType"] for one in found["AttributeDefinitions"]}
        keys = {one["KeyType"]: one["AttributeName"] for one in found["KeySchema"]}
        billing = found.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED")
        capacity = found.get("ProvisionedThroughput", {}) if billing == "PROVISIONED" else {}
        backups = client.describe_continuous_backups(TableName=made)["ContinuousBackupsDescription"]
        recovery = backups.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus")
        ttl = client.describe_time_to_live(TableName=made)["TimeToLiveDescription"]
        tags = [
            tag
            for page in client.get_paginator("list_tags_of_resource").paginate(ResourceArn=found["TableArn"])
            for tag in page["Tags"]
        ]
        return made, {
            "name": made,
            "hash_key": keys["HASH"],
            "hash_key_type": types[keys["HASH"]],
            "range_key": keys.get("RANGE", ""),
            "range_key_type": types[keys["RANGE"]] if "RANGE" in keys else "S",
            "billing_mode": billing,
            "read_capacity": int(capacity.get("ReadCapacityUnits", 0)),
            "write_capacity": int(capacity.get("WriteCapacityUnits", 0)),
            "point_in_time_recovery": recovery == "ENABLED",
            "kms_encryption": found.get("SSEDescription", {}).get("Status") in ("ENABLED", "ENABLING"),
            "deletion_protection": bool(found.get("DeletionProtectionEnabled", False)),
            "ttl_attribute": ttl.get("AttributeName", "") if ttl["TimeToLiveStatus"].startswith("ENABL") else "",
            "tags": tag_map(tags),
            "arn": found["TableArn"],
        }

    def remove(self, made: str, known: Mapping[str, Any]) -> None:
        """Delete the table, and wait until it is gone. One that is protected from deletion stays."""
        with absent_is_fine(*_GONE):
            self.service("dynamodb").delete_table(TableName=made)
            self.service("dynamodb").get_waiter("table_not_exists").wait(TableName=made, WaiterConfig=WAIT)


def _billing(wanted: Mapping[str, Any]) -> dict[str, Any]:
    if wanted["billing_mode"] == "PAY_PER_REQUEST":
        return {"BillingMode": "PAY_PER_REQUEST"}
    capacity = {
        "ReadCapacityUnits": int(wanted["read_capacity"]),
        "WriteCapacityUnits": int(wanted["write_capacity"]),
    }
    return {"BillingMode": "PROVISIONED", "ProvisionedThroughput": capacity}


def _table_changes(news: Mapping[str, Any], names: list[str]) -> Iterator[dict[str, Any]]:
    if {"billing_mode", "read_capacity", "write_capacity"}.intersection(names):
        yield _billing(news)
    if "kms_encryption" in names:
        yield {"SSESpecification": {"Enabled": bool(news["kms_encryption"])}}
    if "deletion_protection" in names:
        yield {"DeletionProtectionEnabled": bool(news["deletion_protection"])}


class Table(AwsResource, module="aws", name="Table"):
    """A table: name, hash_key, hash_key_type, range_key, range_key_type, billing_mode, read_capacity,
    write_capacity, point_in_time_recovery, kms_encryption, deletion_protection, ttl_attribute, tags."""

    provider_type = TableProvider
    name: pulumi.Output[str]
    arn: pulumi.Output[str]
