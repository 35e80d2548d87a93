"""IAM roles, policies, attachments and users."""

from collections.abc import Callable, Mapping
from typing import Any

import pulumi

from quantum_suite.services.infrastructure.library.aws.documents import document, documents
from quantum_suite.services.infrastructure.library.aws.provider import (
    AwsProvider,
    AwsResource,
    absent_is_fine,
    or_absent,
    tag_changes,
    tag_list,
    tag_map,
)
from quantum_suite.services.infrastructure.library.properties import Property, number, text, text_map, texts

_GONE = "NoSuchEntity"
_MOST_VERSIONS = 5


class _Principal(AwsProvider):
    """What roles and users share: inline policies, tags and a boundary. `Role` or `User` is `noun`."""

    noun = "Role"

    def _call(self, verb: str, made: str, **arguments: Any) -> Any:
        call: Callable[..., Any] = getattr(self.service("iam"), verb.format(self.noun.lower()))
        return call(**{f"{self.noun}Name": made}, **arguments)

    def _pages(self, verb: str, key: str, made: str) -> list[Any]:
        pages = self.service("iam").get_paginator(verb.format(self.noun.lower()))
        return [item for page in pages.paginate(**{f"{self.noun}Name": made}) for item in page[key]]

    def _bring_shared(self, made: str, olds: Mapping[str, Any], news: Mapping[str, Any], names: list[str]) -> None:
        if "permissions_boundary" in names:
            if news["permissions_boundary"]:
                boundary = news["permissions_boundary"]
                self._call("put_{}_permissions_boundary", made, PermissionsBoundary=boundary)
            elif olds:
                with absent_is_fine(_GONE):
                    self._call("delete_{}_permissions_boundary", made)
        if "inline_policies" in names:
            for name in set(olds.get("inline_policies") or {}) - set(news["inline_policies"]):
                with absent_is_fine(_GONE):
                    self._call("delete_{}_policy", made, PolicyName=name)
            for name, policy in news["inline_policies"].items():
                self._call("put_{}_policy", made, PolicyName=name, PolicyDocument=policy)
        if "tags" in names:
            tags, gone = tag_changes(olds, news)
            if gone:
                self._call("untag_{}", made, TagKeys=gone)
            if tags:
                self._call("tag_{}", made, Tags=tag_list(tags))

    def _shared(self, made: str, found: Mapping[str, Any]) -> dict[str, Any]:
        named = sorted(self._pages("list_{}_policies", "PolicyNames", made))
        policies = {
            name: document(self._call("get_{}_policy", made, PolicyName=name)["PolicyDocument"]) for name in named
        }
        return {
            "name": found[f"{self.noun}Name"],
            "path": found["Path"],
            "permissions_boundary": found.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn", ""),
            "inline_policies": policies,
            "tags": tag_map(self._call("list_{}_tags", made)["Tags"]),
            "arn": found["Arn"],
        }

    def _strip(self, made: str) -> None:
        for one in self._pages("list_attached_{}_policies", "AttachedPolicies", made):
            self._call("detach_{}_policy", made, PolicyArn=one["PolicyArn"])
        for name in self._pages("list_{}_policies", "PolicyNames", made):
            self._call("delete_{}_policy", made, PolicyName=name)


class RoleProvider(_Principal):
    """Roles, by their name."""

    word = "role"
    noun = "Role"
    properties = {  # noqa: RUF012 - read only, and typed by the base
        "name": Property(normal=text, replaces=True),
        "assume_role_policy": Property(normal=document),
        "description": Property("", text),
        "path": Property("/", text, replaces=True),
        "max_session_duration": Property(3600, number(3600, 43_200)),
        "permissions_boundary": Property("", text),
        "inline_policies": Property({}, documents),
        "tags": Property({}, text_map),
    }

    def make(self, inputs: Mapping[str, Any]) -> str:
        """Create the role."""
        self.service("iam").create_role(
            RoleName=inputs["name"],
            Path=inputs["path"],
            AssumeRolePolicyDocument=inputs["assume_role_policy"],
            Description=inputs["description"],
            MaxSessionDuration=int(inputs["max_session_duration"]),
        )
        return str(inputs["name"])

    def bring(self, made: str, olds: Mapping[str, Any], news: Mapping[str, Any], names: list[str]) -> None:
        """Set what is to be set."""
        if olds and "assume_role_policy" in names:
            self._call("update_assume_{}_policy", made, PolicyDocument=news["assume_role_policy"])
        if olds and {"description", "max_session_duration"}.intersection(names):
            self._call(
                "update_{}",
                made,
                Description=news["description"],
                MaxSessionDuration=int(news["max_session_duration"]),
            )
        self._bring_shared(made, olds, news, names)

    def observe(self, made: str, known: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
        """Return the role."""
        answer = or_absent(lambda: self._call("get_{}", made), _GONE)
        if answer is None:
            return None
        found = answer["Role"]
        return made, {
            **self._shared(made, found),
            "assume_role_policy": document(found["AssumeRolePolicyDocument"]),
            "description": found.get("Description", ""),
            "max_session_duration": int(found.get("MaxSessionDuration", 3600)),
        }

    def remove(self, made: str, known: Mapping[str, Any]) -> None:
        """Delete the role with its inline policies and attachments."""
        with absent_is_fine(_GONE):
            self._strip(made)
            self._call("delete_{}", made)


class UserProvider(_Principal):
    """Users, by their name. Their keys and passwords are not made here: secrets would lie in the state."""

    word = "user"
    noun = "User"
    properties = {  # noqa: RUF012 - read only, and typed by the base
        "name": Property(normal=text, replaces=True),
        "path": Property("/", text, replaces=True),
        "permissions_boundary": Property("", text),
        "inline_policies": Property({}, documents),
        "policy_arns": Property([], texts),
        "tags": Property({}, text_map),
    }

    def make(self, inputs: Mapping[str, Any]) -> str:
        """Create the user."""
        self.service("iam").create_user(UserName=inputs["name"], Path=inputs["path"])
        return str(inputs["name"])

    def bring(self, made: str, olds: Mapping[str, Any], news: Mapping[str, Any], names: list[str]) -> None:
        """Set what is to be set."""
        self._bring_shared(made, olds, news, names)
        if "policy_arns" in names:
            for arn in set(olds.get("policy_arns") or ()) - set(news["policy_arns"]):
                with absent_is_fine(_GONE):
                    self._call("detach_{}_policy", made, PolicyArn=arn)
            for arn in news["policy_arns"]:
                self._call("attach_{}_policy", made, PolicyArn=arn)

    def observe(self, made: str, known: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
        """Return the user."""
        answer = or_absent(lambda: self._call("get_{}", made), _GONE)
        if answer is None:
            return None
        attached = self._pages("list_attached_{}_policies", "AttachedPolicies", made)
        return made, {
            **self._shared(made, answer["User"]),
            "policy_arns": sorted(one["PolicyArn"] for one in attached),
        }

    def remove(self, made: str, known: Mapping[str, Any]) -> None:
        """Delete the user with its policies and access keys."""
        with absent_is_fine(_GONE):
            self._strip(made)
            for key in self._pages("list_access_keys", "AccessKeyMetadata", made):
                self._call("delete_access_key", made, AccessKeyId=key["AccessKeyId"])
            with absent_is_fine(_GONE):
                self._call("delete_login_profile", made)
            self._call("delete_{}", made)


class PolicyProvider(AwsProvider):
    """Managed policies, by their ARN, and by path and name before they have one."""

    word = "policy"
    properties = {  # noqa: RUF012 - read only, and typed by the base
        "name": Property(normal=text, replaces=True),
        "path": Property("/", text, replaces=True),
        "description": Property("", text, replaces=True),
        "policy": Property(normal=document),
        "tags": Property({}, text_map),
    }

    def identity(self, inputs: Mapping[str, Any]) -> str:
        """Return path and name: the ARN holds the account's number as well."""
        return f"{inputs['path']}{inputs['name']}"

    def identifying(self) -> tuple[str, ...]:
        """Return what the ARN is made of."""
        return ("path", "name")

    def make(self, inputs: Mapping[str, Any]) -> str:
        """Create the policy."""
        answer = self.service("iam").create_policy(
            PolicyName=inputs["name"],
            Path=inputs["path"],
            PolicyDocument=inputs["policy"],
            Description=inputs["description"],
        )
        return str(answer["Policy"]["Arn"])

    def bring(self, made: str, olds: Mapping[str, Any], news: Mapping[str, Any], names: list[str]) -> None:
        """Set document and tags; the oldest version of the document makes room for the new one."""
        iam = self.service("iam")
        if olds and "policy" in names:
            versions = iam.list_policy_versions(PolicyArn=made)["Versions"]
            spare = [one for one in versions if not one["IsDefaultVersion"]]
            if len(versions) >= _MOST_VERSIONS:
                oldest = min(spare, key=lambda one: one["CreateDate"])
                iam.delete_policy_version(PolicyArn=made, VersionId=oldest["VersionId"])
            iam.create_policy_version(PolicyArn=made, PolicyDocument=news["policy"], SetAsDefault=True)
        if "tags" in names:
            tags, gone = tag_changes(olds, news)
            if gone:
                iam.untag_policy(PolicyArn=made, TagKeys=gone)
            if tags:
                iam.tag_policy(PolicyArn=made, Tags=tag_list(tags))

    def observe(self, made: str, known: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
        """Return the policy."""
        iam = self.service("iam")
        arn = made if made.startswith("arn:") else self._arn_of(made)
        answer = or_absent(lambda: iam.get_policy(PolicyArn=arn), _GONE) if arn else None
        if answer is None:
            return None
        found = answer["Policy"]
        version = iam.get_policy_version(PolicyArn=arn, VersionId=found["DefaultVersionId"])["PolicyVersion"]
        tags = iam.list_policy_tags(PolicyArn=arn)["Tags"]
        return arn, {
            "name": found["PolicyName"],
            "path": found["Path"],
            "description": found.get("Description", ""),
            "policy": document(version["Document"]),
            "tags": tag_map(tags),
            "arn": arn,
        }

    def _arn_of(self, identity: str) -> str:
        path, _, name = identity.rpartition("/")
        pages = self.service("iam").get_paginator("list_policies").paginate(Scope="Local", PathPrefix=f"{path}/")
        found = (one["Arn"] for page in pages for one in page["Policies"] if one["PolicyName"] == name)
        return next(found, "")

    def remove(self, made: str, known: Mapping[str, Any]) -> None:
        """Delete the policy with all its versions; it must be attached nowhere."""
        iam = self.service("iam")
        with absent_is_fine(_GONE):
            for one in iam.list_policy_versions(PolicyArn=made)["Versions"]:
                if not one["IsDefaultVersion"]:
                    iam.delete_policy_version(PolicyArn=made, VersionId=one["VersionId"])
            iam.delete_policy(PolicyArn=made)


class AttachmentProvider(AwsProvider):
    """A managed policy on a role; the id is `role|ARN`."""

    word = "attachment"
    properties = {  # noqa: RUF012 - read only, and typed by the base
        "role": Property(normal=text, replaces=True),
        "policy_arn": Property(normal=text, replaces=True),
    }

    def identity(self, inputs: Mapping[str, Any]) -> str:
        """Return role and ARN."""
        return f"{inputs['role']}|{inputs['policy_arn']}"

    def identifying(self) -> tuple[str, ...]:
        """Return both."""
        return ("role", "policy_arn")

    def make(self, inputs: Mapping[str, Any]) -> str:
        """Attach."""
        self.service("iam").attach_role_policy(RoleName=inputs["role"], PolicyArn=inputs["policy_arn"])
        return self.identity(inputs)

    def bring(self, made: str, olds: Mapping[str, Any], news: Mapping[str, Any], names: list[str]) -> None:
        """Do nothing: all there is of it is that it is there."""

    def observe(self, made: str, known: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
        """Return it while the role has the policy."""
        role, _, arn = made.partition("|")
        pages = self.service("iam").get_paginator("list_attached_role_policies")
        attached = or_absent(
            lambda: [
                one["PolicyArn"] for page in pages.paginate(RoleName=role) for one in page["AttachedPolicies"]
            ],
            _GONE,
        )
        return (made, {"role": role, "policy_arn": arn}) if arn in (attached or ()) else None

    def remove(self, made: str, known: Mapping[str, Any]) -> None:
        """Detach."""
        role, _, arn = made.partition("|")
        with absent_is_fine(_GONE):
            self.service("iam").detach_role_policy(RoleName=role, PolicyArn=arn)


class Role(AwsResource, module="aws", name="Role"):
    """A role: name, assume_role_policy, description, path, max_session_duration, permissions_boundary,
    inline_policies (documents by name; others are taken away), tags."""

    provider_type = RoleProvider
    name: pulumi.Output[str]
    arn: pulumi.Output[str]


class User(AwsResource, module="aws", name="User"):
    """A user: name, path, permissions_boundary, inline_policies, policy_arns (attached; others are not), tags."""

    provider_type = UserProvider
    name: pulumi.Output[str]
    arn: pulumi.Output[str]


class Policy(AwsResource, module="aws", name="Policy"):
    """A managed policy: name, path, description, policy (the document), tags."""

    provider_type = PolicyProvider
    name: pulumi.Output[str]
    arn: pulumi.Output[str]


class RolePolicyAttachment(AwsResource, module="aws", name="RolePolicyAttachment"):
    """A managed policy on a role: role, policy_arn."""

    provider_type = AttachmentProvider
    computed = ()
    role: pulumi.Output[str]
    policy_arn: pulumi.Output[str]
