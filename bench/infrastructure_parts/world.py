"""What a stack is to look like, and what there really is: moto's AWS and a folder."""

import random
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from reference.aws import RunningAws

KINDS = ("bucket", "queue", "table", "file")
Contents = dict[str, dict[str, str]]
"""By kind, name and mark of everything there is."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One resource of a program."""

    label: str
    kind: str
    name: str
    mark: str
    needs: str = ""
    group: str = ""

    def as_json(self) -> dict[str, str]:
        """Return it as the program reads it."""
        return asdict(self)


def shape(prefix: str, count: int, folder: Path, chance: random.Random) -> list[Wanted]:
    """Return a program of `count` resources of all kinds; some need others, some are grouped."""
    wanted: list[Wanted] = []
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        label = f"{kind}-{number}"
        needs = chance.choice(wanted).label if wanted and chance.random() < 0.5 else ""
        group = f"group-{number % 3}" if count > 5 and chance.random() < 0.4 else ""
        wanted.append(Wanted(label, kind, _name(prefix, label, folder, ""), "30", needs, group))
    return wanted


def changed(wanted: list[Wanted], prefix: str, folder: Path, chance: random.Random) -> list[Wanted]:
    """Return the program after an edit: marks changed, things renamed (so replaced), taken away and added."""
    edited: list[Wanted] = []
    for one in wanted:
        what = chance.random()
        name, mark = one.name, one.mark
        if what < 0.3:
            mark = str(chance.randint(31, 900))
        elif what < 0.45:
            name = _name(prefix, one.label, folder, f"-{chance.randint(1, 9999)}")
        elif what < 0.55 and not any(other.needs == one.label for other in wanted):
            continue
        edited.append(Wanted(one.label, one.kind, name, mark, one.needs, one.group))
    label = f"queue-x{chance.randint(1, 10**6)}"
    return [*edited, Wanted(label, "queue", _name(prefix, label, folder, ""), "45")]


def drifted(cloud: RunningAws, wanted: list[Wanted], chance: random.Random) -> list[Wanted]:
    """Mark things anew and take some away behind the program's back; returns the program that agrees with it."""
    kept: list[Wanted] = []
    for one in wanted:
        what = chance.random()
        if what < 0.1 and not any(other.needs == one.label for other in wanted):
            _take_away(cloud, one)
            continue
        mark = str(chance.randint(31, 900)) if what < 0.5 else one.mark
        if mark != one.mark:
            _mark(cloud, one, mark)
        kept.append(replace(one, mark=mark))
    return kept


def _take_away(cloud: RunningAws, one: Wanted) -> None:
    if one.kind == "bucket":
        cloud.client("s3").delete_bucket(Bucket=one.name)
    elif one.kind == "queue":
        queues = cloud.client("sqs")
        queues.delete_queue(QueueUrl=queues.get_queue_url(QueueName=one.name)["QueueUrl"])
    elif one.kind == "table":
        cloud.client("dynamodb").delete_table(TableName=one.name)
    else:
        Path(one.name).unlink()


def _mark(cloud: RunningAws, one: Wanted, mark: str) -> None:
    tag = {"Key": "mark", "Value": mark}
    if one.kind == "bucket":
        cloud.client("s3").put_bucket_tagging(Bucket=one.name, Tagging={"TagSet": [tag]})
    elif one.kind == "queue":
        queues = cloud.client("sqs")
        url = queues.get_queue_url(QueueName=one.name)["QueueUrl"]
        queues.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": mark})
    elif one.kind == "table":
        tables = cloud.client("dynamodb")
        arn = tables.describe_table(TableName=one.name)["Table"]["TableArn"]
        # moto keeps both values of a tag that is set twice.
        tables.untag_resource(ResourceArn=arn, TagKeys=["mark"])
        tables.tag_resource(ResourceArn=arn, Tags=[tag])
    else:
        Path(one.name).write_text(mark, encoding="utf-8")


def _name(prefix: str, label: str, folder: Path, suffix: str) -> str:
    name = f"{prefix}-{label}{suffix}"
    return str(folder / name) if label.startswith("file") else name


def expected(wanted: list[Wanted]) -> Contents:
    """Return what there is once a program is applied."""
    contents: Contents = {kind: {} for kind in KINDS}
    for one in wanted:
        contents[one.kind][one.name] = one.mark
    return contents


def differing(wanted: Contents, there: Contents) -> tuple[int, int, int]:
    """Return how many things are lost, how many are there without being asked for, and how many differ."""
    lost = extra = wrong = 0
    for kind in KINDS:
        lost += len(wanted[kind].keys() - there[kind].keys())
        extra += len(there[kind].keys() - wanted[kind].keys())
        wrong += sum(there[kind].get(name) not in (None, mark) for name, mark in wanted[kind].items())
    return lost, extra, wrong


def contents(cloud: RunningAws, prefix: str, folder: Path) -> Contents:
    """Return what is there under a prefix, in the cloud and in a folder."""
    buckets, queues, tables = (cloud.client(name) for name in ("s3", "sqs", "dynamodb"))
    found: Contents = {kind: {} for kind in KINDS}
    for bucket in buckets.list_buckets()["Buckets"]:
        if bucket["Name"].startswith(f"{prefix}-"):
            tags = _tags(buckets, bucket["Name"])
            found["bucket"][bucket["Name"]] = tags
    for url in queues.list_queues(QueueNamePrefix=f"{prefix}-").get("QueueUrls", []):
        attributes = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])
        found["queue"][url.rpartition("/")[2]] = attributes["Attributes"]["VisibilityTimeout"]
    for page in tables.get_paginator("list_tables").paginate():
        for name in page["TableNames"]:
            if name.startswith(f"{prefix}-"):
                arn = tables.describe_table(TableName=name)["Table"]["TableArn"]
                marks = tables.list_tags_of_resource(ResourceArn=arn)["Tags"]
                found["table"][name] = next((tag["Value"] for tag in marks if tag["Key"] == "mark"), "")
    for path in folder.glob(f"{prefix}-*"):
        found["file"][str(path)] = path.read_text(encoding="utf-8")
    return found


def _tags(client: Any, bucket: str) -> str:
    from botocore.exceptions import ClientError

    try:
        tags = client.get_bucket_tagging(Bucket=bucket)["TagSet"]
    except ClientError:
        return ""
    return next((tag["Value"] for tag in tags if tag["Key"] == "mark"), "")
