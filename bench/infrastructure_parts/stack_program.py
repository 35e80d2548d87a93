"""The program of every stack of the bench, copied beside a Pulumi.yaml: resources as its configuration asks for.

Runs by itself, in the engine's sandbox: it imports nothing of the suite's, and boto3 only where AWS is called, so
not in the program's own process, which is started three times for every change. Names are deterministic, and
`check` says under which identity `read` finds what `create` is going to make.
"""

import json
from pathlib import Path

import pulumi
from pulumi.dynamic import (
    CheckResult,
    CreateResult,
    DiffResult,
    ReadResult,
    Resource,
    ResourceProvider,
    UpdateResult,
)


def client_of(service):
    """Return a client of one of AWS's services."""
    import boto3

    return boto3.client(service)


class NamedProvider(ResourceProvider):
    """What all of them share: another name is another thing, anything else can be updated."""

    def check(self, _olds, news):
        """Say where to look."""
        return CheckResult({**news, "__identity": news["name"]}, [])

    def diff(self, _id, olds, news):
        """Compare what was made with what is asked for."""
        changed = [key for key in ("name", "mark") if olds.get(key) != news.get(key)]
        return DiffResult(changes=bool(changed), replaces=["name"] if "name" in changed else [])

    def update(self, _id, _olds, news):
        """Mark it anew."""
        self.mark(news["name"], news["mark"])
        return UpdateResult(dict(news))

    def read(self, id_, props):
        """Return what is there."""
        mark = self.marked(id_)
        if mark is None:
            return ReadResult(None, {})
        now = {"name": id_, "mark": mark, "needs": props.get("needs")}
        return ReadResult(id_, now, {**now, "__identity": id_})


class BucketProvider(NamedProvider):
    """S3 buckets, marked by a tag."""

    def create(self, props):
        """Make one."""
        client_of("s3").create_bucket(Bucket=props["name"])
        self.mark(props["name"], props["mark"])
        return CreateResult(props["name"], dict(props))

    def mark(self, name, mark):
        """Tag it."""
        tags = {"TagSet": [{"Key": "mark", "Value": mark}]}
        client_of("s3").put_bucket_tagging(Bucket=name, Tagging=tags)

    def marked(self, name):
        """Return its tag; None where there is no bucket."""
        client = client_of("s3")
        try:
            tags = client.get_bucket_tagging(Bucket=name)["TagSet"]
        except client.exceptions.ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchTagSet":
                return ""
            if error.response["Error"]["Code"] in ("NoSuchBucket", "404"):
                return None
            raise
        return next((tag["Value"] for tag in tags if tag["Key"] == "mark"), "")

    def delete(self, id_, _props):
        """Delete it; one that is gone is gone."""
        client = client_of("s3")
        try:
            client.delete_bucket(Bucket=id_)
        except client.exceptions.ClientError as error:
            if error.response["Error"]["Code"] not in ("NoSuchBucket", "404"):
                raise


class QueueProvider(NamedProvider):
    """SQS queues, marked by how long a message stays hidden."""

    def create(self, props):
        """Make one."""
        client_of("sqs").create_queue(QueueName=props["name"], Attributes={"VisibilityTimeout": props["mark"]})
        return CreateResult(props["name"], dict(props))

    def _url(self, name):
        client = client_of("sqs")
        try:
            return client, client.get_queue_url(QueueName=name)["QueueUrl"]
        except client.exceptions.QueueDoesNotExist:
            return client, None

    def mark(self, name, mark):
        """Set its attribute."""
        client, url = self._url(name)
        client.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": mark})

    def marked(self, name):
        """Return its attribute; None where there is no queue."""
        client, url = self._url(name)
        if url is None:
            return None
        found = client.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])
        return found["Attributes"]["VisibilityTimeout"]

    def delete(self, id_, _props):
        """Delete it; one that is gone is gone."""
        client, url = self._url(id_)
        if url is not None:
            client.delete_queue(QueueUrl=url)


class TableProvider(NamedProvider):
    """DynamoDB tables, marked by a tag."""

    def create(self, props):
        """Make one."""
        client_of("dynamodb").create_table(
            TableName=props["name"],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
            Tags=[{"Key": "mark", "Value": props["mark"]}],
        )
        return CreateResult(props["name"], dict(props))

    def _arn(self, name):
        client = client_of("dynamodb")
        try:
            return client, client.describe_table(TableName=name)["Table"]["TableArn"]
        except client.exceptions.ResourceNotFoundException:
            return client, None

    def mark(self, name, mark):
        """Tag it."""
        client, arn = self._arn(name)
        # moto keeps both values of a tag that is set twice.
        client.untag_resource(ResourceArn=arn, TagKeys=["mark"])
        client.tag_resource(ResourceArn=arn, Tags=[{"Key": "mark", "Value": mark}])

    def marked(self, name):
        """Return its tag; None where there is no table."""
        client, arn = self._arn(name)
        if arn is None:
            return None
        tags = client.list_tags_of_resource(ResourceArn=arn)["Tags"]
        return next((tag["Value"] for tag in tags if tag["Key"] == "mark"), "")

    def delete(self, id_, _props):
        """Delete it; one that is gone is gone."""
        client, arn = self._arn(id_)
        if arn is not None:
            client.delete_table(TableName=id_)


class FileProvider(NamedProvider):
    """Files, whose text is their mark."""

    def create(self, props):
        """Make one."""
        self.mark(props["name"], props["mark"])
        return CreateResult(props["name"], dict(props))

    def mark(self, name, mark):
        """Write it."""
        Path(name).write_text(mark, encoding="utf-8")

    def marked(self, name):
        """Return its text; None where there is no file."""
        return Path(name).read_text(encoding="utf-8") if Path(name).exists() else None

    def delete(self, id_, _props):
        """Delete it; one that is gone is gone."""
        Path(id_).unlink(missing_ok=True)


PROVIDERS = {
    "bucket": BucketProvider(),
    "queue": QueueProvider(),
    "table": TableProvider(),
    "file": FileProvider(),
}


class Thing(Resource):
    """One resource; `needs` is another's name, so that one depends on the other."""

    name: pulumi.Output[str]

    def __init__(self, label, kind, name, mark, needs, opts):
        """Declare it."""
        super().__init__(PROVIDERS[kind], label, {"name": name, "mark": mark, "needs": needs}, opts)


class Group(pulumi.ComponentResource):
    """What belongs together."""

    def __init__(self, label):
        """Declare it."""
        super().__init__("bench:index:Group", label)


groups = {}
made = {}
for entry in json.loads(pulumi.Config().require("shape")):
    parent = None
    if entry["group"]:
        parent = groups.get(entry["group"]) or groups.setdefault(entry["group"], Group(entry["group"]))
    needed = made[entry["needs"]].name if entry["needs"] else None
    made[entry["label"]] = Thing(
        entry["label"], entry["kind"], entry["name"], entry["mark"], needed, pulumi.ResourceOptions(parent=parent)
    )
pulumi.export("count", len(made))
