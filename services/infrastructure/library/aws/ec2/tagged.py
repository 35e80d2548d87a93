"""What EC2's resources share: AWS makes up their ids, and a tag finds them again."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from quantum_suite.services.infrastructure.library.aws.provider import (
    TOKEN,
    TOKEN_TAG,
    AwsProvider,
    tag_changes,
    tag_list,
)
from quantum_suite.services.infrastructure.library.properties import IDENTITY

_BY_TAG = "token:"


class TaggedProvider(AwsProvider):
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
