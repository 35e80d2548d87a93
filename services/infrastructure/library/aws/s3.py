"""S3 buckets: encrypted, closed to the public and with everything else in one resource."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pulumi

from quantum_suite.services.infrastructure.library.aws.documents import document
from quantum_suite.services.infrastructure.library.aws.provider import (
    AwsFailed,
    AwsProvider,
    AwsResource,
    absent_is_fine,
    error_code,
    or_absent,
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

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_BLOCKS = {
    "block_public_acls": "BlockPublicAcls",
    "ignore_public_acls": "IgnorePublicAcls",
    "block_public_policy": "BlockPublicPolicy",
    "restrict_public_buckets": "RestrictPublicBuckets",
}
_GONE = ("NoSuchBucket", "404")
_MOST_EMPTIED = 1_000_000


def _bucket_name(value: Any) -> str:
    if not _NAME.fullmatch(text(value)):
        raise ValueError("a bucket's name has 3 to 63 lower-case letters, digits, hyphens and periods")
    return text(value)


def _blocks(value: Any) -> dict[str, bool]:
    if isinstance(value, bool):
        return dict.fromkeys(sorted(_BLOCKS), value)
    wrong = sorted(set(value) - set(_BLOCKS))
    if wrong:
        raise ValueError(f"there is no {', '.join(wrong)}; there are {', '.join(_BLOCKS)}")
    return {name: flag(value.get(name, True)) for name in sorted(_BLOCKS)}


def _rules(value: Any) -> dict[str, Any]:
    """Return lifecycle rules by id: days until what is under a prefix expires."""
    given = value.items() if isinstance(value, Mapping) else [(rule["id"], rule) for rule in value]
    days = number(0, 100_000)
    return {
        text(name): {
            "prefix": text(rule.get("prefix", "")),
            "enabled": flag(rule.get("enabled", True)),
            **{key: days(rule.get(key, 0)) for key in ("expiration_days", "noncurrent_days", "abort_days")},
        }
        for name, rule in sorted(given)
    }


class BucketProvider(AwsProvider):
    """S3 buckets, by their name."""

    word = "bucket"
    properties = {  # noqa: RUF012 - read only, and typed by the base
        "name": Property(normal=_bucket_name, replaces=True),
        "versioning": Property(False, flag),
        "encryption": Property("AES256", choice("AES256", "aws:kms", "none")),
        "kms_key_id": Property("", text),
        "public_access_block": Property(_blocks(True), _blocks),
        "policy": Property("", document),
        "lifecycle_rules": Property({}, _rules),
        "tags": Property({}, text_map),
        "force_destroy": Property(False, flag),
    }

    def make(self, inputs: Mapping[str, Any]) -> str:
        """Create the bucket; one of ours that is there already is taken as it is."""
        s3 = self.service("s3")
        region = s3.meta.region_name
        where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        with absent_is_fine("BucketAlreadyOwnedByYou"):
            s3.create_bucket(Bucket=inputs["name"], **where)
        return str(inputs["name"])

    def bring(self, made: str, olds: Mapping[str, Any], news: Mapping[str, Any], names: list[str]) -> None:
        """Set what is to be set; the policy before what might forbid it."""
        if "versioning" in names and (news["versioning"] or olds):
            status = "Enabled" if news["versioning"] else "Suspended"
            self.service("s3").put_bucket_versioning(Bucket=made, VersioningConfiguration={"Status": status})
        if "encryption" in names or "kms_key_id" in names:
            self._encrypt(made, news["encryption"], news["kms_key_id"])
        blocks_last = "policy" in names and bool(news["policy"])
        if "public_access_block" in names and not blocks_last:
            self._block(made, news["public_access_block"])
        if "policy" in names:
            self._set_policy(made, news["policy"])
        if "public_access_block" in names and blocks_last:
            self._block(made, news["public_access_block"])
        if "lifecycle_rules" in names:
            self._set_rules(made, news["lifecycle_rules"])
        if "tags" in names:
            if news["tags"]:
                self.service("s3").put_bucket_tagging(Bucket=made, Tagging={"TagSet": tag_list(news["tags"])})
            elif olds:
                self.service("s3").delete_bucket_tagging(Bucket=made)

    def _block(self, made: str, blocks: Mapping[str, bool]) -> None:
        asked = {theirs: bool(blocks[ours]) for ours, theirs in _BLOCKS.items()}
        self.service("s3").put_public_access_block(Bucket=made, PublicAccessBlockConfiguration=asked)

    def _encrypt(self, made: str, algorithm: str, key: str) -> None:
        s3 = self.service("s3")
        if algorithm == "none":
            s3.delete_bucket_encryption(Bucket=made)
            return
        rule: dict[str, Any] = {"SSEAlgorithm": algorithm, **({"KMSMasterKeyID": key} if key else {})}
        s3.put_bucket_encryption(
            Bucket=made,
            ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": rule}]},
        )

    def _set_policy(self, made: str, policy: str) -> None:
        if policy:
            self.service("s3").put_bucket_policy(Bucket=made, Policy=policy)
        else:
            self.service("s3").delete_bucket_policy(Bucket=made)

    def _set_rules(self, made: str, rules: Mapping[str, Any]) -> None:
        if not rules:
            self.service("s3").delete_bucket_lifecycle(Bucket=made)
            return
        asked = [_their_rule(name, rule) for name, rule in rules.items()]
        self.service("s3").put_bucket_lifecycle_configuration(Bucket=made, LifecycleConfiguration={"Rules": asked})

    def observe(self, made: str, known: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
        """Return the bucket with all its settings."""
        s3 = self.service("s3")
        if or_absent(lambda: s3.head_bucket(Bucket=made), *_GONE) is None:
            return None
        versioning = s3.get_bucket_versioning(Bucket=made).get("Status", "")
        sealed = or_absent(
            lambda: s3.get_bucket_encryption(Bucket=made), "ServerSideEncryptionConfigurationNotFoundError"
        )
        rules = (sealed or {}).get("ServerSideEncryptionConfiguration", {}).get("Rules", [])
        first = rules[0].get("ApplyServerSideEncryptionByDefault", {}) if rules else {}
        blocks = or_absent(lambda: s3.get_public_access_block(Bucket=made), "NoSuchPublicAccessBlockConfiguration")
        blocked = (blocks or {}).get("PublicAccessBlockConfiguration", {})
        policy = or_absent(lambda: s3.get_bucket_policy(Bucket=made), "NoSuchBucketPolicy")
        tags = or_absent(lambda: s3.get_bucket_tagging(Bucket=made), "NoSuchTagSet")
        lifecycle = or_absent(
            lambda: s3.get_bucket_lifecycle_configuration(Bucket=made), "NoSuchLifecycleConfiguration"
        )
        return made, {
            "name": made,
            "versioning": versioning == "Enabled",
            "encryption": first.get("SSEAlgorithm", "none"),
            "kms_key_id": first.get("KMSMasterKeyID", ""),
            "public_access_block": {
                ours: bool(blocked.get(theirs, False)) for ours, theirs in sorted(_BLOCKS.items())
            },
            "policy": document(policy["Policy"]) if policy else "",
            "lifecycle_rules": dict(sorted(map(_our_rule, (lifecycle or {}).get("Rules", [])))),
            "tags": tag_map(tags["TagSet"]) if tags else {},
            "force_destroy": bool(known.get("force_destroy", False)),
            "arn": f"arn:aws:s3:::{made}",
        }

    def remove(self, made: str, known: Mapping[str, Any]) -> None:
        """Delete the bucket; what is in it only with force_destroy."""
        if known.get("force_destroy"):
            with absent_is_fine(*_GONE):
                self._empty(made)
        from botocore.exceptions import ClientError

        try:
            self.service("s3").delete_bucket(Bucket=made)
        except ClientError as error:
            if error_code(error) == "BucketNotEmpty":
                raise AwsFailed(
                    f"The bucket {made} holds objects. Empty it, or set force_destroy and apply that first."
                ) from None
            if error_code(error) not in _GONE:
                raise

    def _empty(self, made: str) -> None:
        s3, emptied = self.service("s3"), 0
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=made):
            found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            keys = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in found]
            if keys:
                s3.delete_objects(Bucket=made, Delete={"Objects": keys, "Quiet": True})
            emptied += len(keys)
            if emptied > _MOST_EMPTIED:
                raise AwsFailed(f"The bucket {made} holds more than {_MOST_EMPTIED} objects: empty it yourself.")

    def problems(self, inputs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield a key for another kind of encryption, and a rule that does nothing."""
        if inputs.get("kms_key_id") and inputs.get("encryption") != "aws:kms":
            yield "kms_key_id", "a key is used with encryption aws:kms only"
        rules = inputs.get("lifecycle_rules")
        for name, rule in (rules if isinstance(rules, Mapping) else {}).items():
            if not any(rule[key] for key in ("expiration_days", "noncurrent_days", "abort_days")):
                yield "lifecycle_rules", f"the rule {name} names no days"


def _their_rule(name: str, rule: Mapping[str, Any]) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "ID": name,
        "Status": "Enabled" if rule["enabled"] else "Disabled",
        "Filter": {"Prefix": rule["prefix"]},
    }
    if rule["expiration_days"]:
        asked["Expiration"] = {"Days": int(rule["expiration_days"])}
    if rule["noncurrent_days"]:
        asked["NoncurrentVersionExpiration"] = {"NoncurrentDays": int(rule["noncurrent_days"])}
    if rule["abort_days"]:
        asked["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": int(rule["abort_days"])}
    return asked


def _our_rule(rule: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    return str(rule.get("ID", "")), {
        "prefix": rule.get("Filter", {}).get("Prefix", rule.get("Prefix", "")),
        "enabled": rule.get("Status") == "Enabled",
        "expiration_days": int(rule.get("Expiration", {}).get("Days", 0)),
        "noncurrent_days": int(rule.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays", 0)),
        "abort_days": int(rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation", 0)),
    }


class Bucket(AwsResource, module="aws", name="Bucket"):
    """A bucket: name, versioning, encryption, kms_key_id, public_access_block, policy, lifecycle_rules, tags,
    force_destroy. Encrypted and closed to the public unless it says otherwise."""

    provider_type = BucketProvider
    name: pulumi.Output[str]
    arn: pulumi.Output[str]
