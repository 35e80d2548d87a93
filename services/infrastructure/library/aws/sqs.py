"""SQS queues."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pulumi

from quantum_suite.services.infrastructure.library.aws.documents import document
from quantum_suite.services.infrastructure.library.aws.provider import (
    AwsProvider,
    AwsResource,
    absent_is_fine,
    or_absent,
    tag_changes,
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

_GONE = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")
_NUMBERS = {
    "visibility_timeout": "VisibilityTimeout",
    "message_retention_seconds": "MessageRetentionPeriod",
    "max_message_bytes": "MaximumMessageSize",
    "delay_seconds": "DelaySeconds",
    "receive_wait_seconds": "ReceiveMessageWaitTimeSeconds",
}


class QueueProvider(AwsProvider):
    """Queues, by their name."""

    word = "queue"
    properties = {  # noqa: RUF012 - read only, and typed by the base
        "name": Property(normal=text, replaces=True),
        "fifo": Property(False, flag, replaces=True),
        "visibility_timeout": Property(30, number(0, 43_200)),
        "message_retention_seconds": Property(345_600, number(60, 1_209_600)),
        "max_message_bytes": Property(262_144, number(1_024, 1_048_576)),
        "delay_seconds": Property(0, number(0, 900)),
        "receive_wait_seconds": Property(0, number(0, 20)),
        "encryption": Property("sqs", choice("sqs", "kms", "none")),
        "kms_key_id": Property("", text),
        "policy": Property("", document),
        "dead_letter_arn": Property("", text),
        "max_receive_count": Property(0, number(0, 1_000)),
        "tags": Property({}, text_map),
    }

    def problems(self, inputs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield what does not go together."""
        if inputs.get("fifo") != str(inputs.get("name", "")).endswith(".fifo"):
            yield "name", "a FIFO queue's name ends in .fifo, and no other's does"
        if bool(inputs.get("dead_letter_arn")) != bool(inputs.get("max_receive_count")):
            yield "max_receive_count", "dead_letter_arn and max_receive_count go together"
        if bool(inputs.get("kms_key_id")) != (inputs.get("encryption") == "kms"):
            yield "kms_key_id", "encryption kms and kms_key_id go together"

    def _url(self, made: str) -> str | None:
        name = made.rpartition("/")[2]
        answer = or_absent(lambda: self.service("sqs").get_queue_url(QueueName=name), *_GONE)
        return str(answer["QueueUrl"]) if answer else None

    def make(self, inputs: Mapping[str, Any]) -> str:
        """Create the queue."""
        fifo = {"FifoQueue": "true"} if inputs["fifo"] else {}
        self.service("sqs").create_queue(QueueName=inputs["name"], Attributes=fifo)
        return str(inputs["name"])

    def bring(self, made: str, olds: Mapping[str, Any], news: Mapping[str, Any], names: list[str]) -> None:
        """Set attributes, all in one call, and tags."""
        url, sqs = self._url(made), self.service("sqs")
        asked = {theirs: str(int(news[ours])) for ours, theirs in _NUMBERS.items() if ours in names}
        if {"encryption", "kms_key_id"}.intersection(names):
            # Either kind of encryption goes with the other's empty.
            if news["encryption"] == "kms":
                asked["KmsMasterKeyId"] = news["kms_key_id"]
            else:
                asked["SqsManagedSseEnabled"] = "true" if news["encryption"] == "sqs" else "false"
                if olds.get("kms_key_id"):
                    asked["KmsMasterKeyId"] = ""
        if "policy" in names and (news["policy"] or olds):
            asked["Policy"] = news["policy"]
        if {"dead_letter_arn", "max_receive_count"}.intersection(names) and (news["dead_letter_arn"] or olds):
            redrive = {
                "deadLetterTargetArn": news["dead_letter_arn"],
                "maxReceiveCount": int(news["max_receive_count"]),
            }
            asked["RedrivePolicy"] = json.dumps(redrive) if news["dead_letter_arn"] else ""
        if asked:
            if news["policy"]:
                # Not all that speaks this API keeps a policy that a change does not name.
                asked.setdefault("Policy", news["policy"])
            sqs.set_queue_attributes(QueueUrl=url, Attributes=asked)
        if "tags" in names:
            tags, gone = tag_changes(olds, news)
            if gone:
                sqs.untag_queue(QueueUrl=url, TagKeys=gone)
            if tags:
                sqs.tag_queue(QueueUrl=url, Tags=tags)

    def observe(self, made: str, known: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
        """Return the queue."""
        sqs, url = self.service("sqs"), self._url(made)
        answer = (
            or_absent(lambda: sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"]), *_GONE)
            if url
            else None
        )
        if url is None or answer is None:
            return None
        found = answer["Attributes"]
        redrive = json.loads(found.get("RedrivePolicy") or "{}")
        tags = sqs.list_queue_tags(QueueUrl=url).get("Tags", {})
        key = found.get("KmsMasterKeyId", "")
        managed = found.get("SqsManagedSseEnabled", "false") == "true"
        name = url.rpartition("/")[2]
        return name, {
            "name": name,
            "fifo": found.get("FifoQueue", "false") == "true",
            **{ours: int(found[theirs]) for ours, theirs in _NUMBERS.items()},
            "encryption": "kms" if key else "sqs" if managed else "none",
            "kms_key_id": key,
            "policy": document(found.get("Policy", "")),
            "dead_letter_arn": redrive.get("deadLetterTargetArn", ""),
            "max_receive_count": int(redrive.get("maxReceiveCount", 0)),
            "tags": tag_map([{"Key": name, "Value": value} for name, value in tags.items()]),
            "url": url,
            "arn": found["QueueArn"],
        }

    def remove(self, made: str, known: Mapping[str, Any]) -> None:
        """Delete the queue with what is in it."""
        url = self._url(made)
        if url is not None:
            with absent_is_fine(*_GONE):
                self.service("sqs").delete_queue(QueueUrl=url)


class Queue(AwsResource, module="aws", name="Queue"):
    """A queue: name, fifo, visibility_timeout, message_retention_seconds, max_message_bytes, delay_seconds,
    receive_wait_seconds, encryption (sqs, kms, none), kms_key_id, policy, dead_letter_arn, max_receive_count,
    tags."""

    provider_type = QueueProvider
    computed = ("arn", "url")
    name: pulumi.Output[str]
    arn: pulumi.Output[str]
    url: pulumi.Output[str]
