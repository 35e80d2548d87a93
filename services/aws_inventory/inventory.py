"""Lists an account's resources, read-only, page by page, within bounds."""

import importlib.util
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import anyio.to_thread

from quantum_suite.core.errors import CallerError, EngineError, EngineMissing
from quantum_suite.services.infrastructure.embedded.engine import INSTALL_COMMAND

MOST_ITEMS: Final = 2_000
"""Of each type."""

_SECONDS = 120.0
_NEEDED = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI")


@dataclass(frozen=True, slots=True)
class Item:
    """One resource of the account."""

    type: str
    """As the library of providers calls it: Bucket, Role, Instance."""
    id: str
    """As a provider of the library takes it, to import it."""
    name: str = ""
    arn: str = ""


@dataclass(frozen=True, slots=True)
class Inventory:
    """What was found. What could not be listed is named, never left out in silence."""

    items: Sequence[Item]
    not_listed: Mapping[str, str] = field(default_factory=dict)
    """By type, why."""
    cut: Sequence[str] = ()
    """Types of which there are more than were listed."""


TYPES: Final = (
    "Bucket",
    "Role",
    "Policy",
    "User",
    "SecurityGroup",
    "Instance",
    "Vpc",
    "Subnet",
    "Queue",
    "Table",
)


async def list_aws(
    environment: Mapping[str, str], types: Sequence[str] = TYPES, seconds: float = _SECONDS
) -> Inventory:
    """Return what there is of those types, with the credentials of `environment` and no others.

    What AWS made itself (service roles, default networks' groups) is not listed. Raises CallerError for an
    unknown type or without credentials, EngineMissing without boto3, EngineError when AWS cannot be reached.
    """
    unknown = sorted(set(types) - set(TYPES))
    if unknown:
        raise CallerError(
            f"There is no type {', '.join(unknown)}.", f"There are {', '.join(TYPES)}.", argument="types"
        )
    if importlib.util.find_spec("boto3") is None:
        raise EngineMissing("boto3 is not installed.", f"Install it with `{INSTALL_COMMAND}`.", engine="boto3")
    if not any(environment.get(name) for name in _NEEDED):
        raise CallerError(
            "No AWS credentials are granted to infrastructure, so the account cannot be listed.",
            "Start the hub with AWS credentials and QUANTUM_STACK_ENVIRONMENT=AWS_*.",
        )
    listing = partial(_listed, dict(environment), tuple(types), time.monotonic() + seconds)
    return await anyio.to_thread.run_sync(listing, abandon_on_cancel=True)


def _listed(environment: Mapping[str, str], types: Sequence[str], deadline: float) -> Inventory:
    from botocore.exceptions import BotoCoreError, ClientError

    client = _clients(environment)
    items: list[Item] = []
    not_listed: dict[str, str] = {}
    cut: list[str] = []
    for kind in types:
        try:
            for number, item in enumerate(_LISTS[kind](client)):
                if number >= MOST_ITEMS or time.monotonic() > deadline:
                    cut.append(kind)
                    break
                items.append(item)
        except ClientError as error:
            not_listed[kind] = str(error)[:300]
        except BotoCoreError as error:
            raise EngineError(
                f"AWS cannot be asked: {str(error)[:300]}", "Look at endpoint, region and network.", engine="aws"
            ) from error
    return Inventory(items, not_listed, cut)


Clients = Callable[[str], Any]


def _clients(environment: Mapping[str, str]) -> Clients:
    """Return what makes clients of services; nothing of this process's own environment is used."""
    import botocore.session
    from botocore.config import Config
    from botocore.credentials import Credentials

    made: dict[str, Any] = {}
    session = botocore.session.Session(profile=environment.get("AWS_PROFILE") or None)
    for name, variable in (
        ("config_file", "AWS_CONFIG_FILE"),
        ("credentials_file", "AWS_SHARED_CREDENTIALS_FILE"),
    ):
        if environment.get(variable):
            session.set_config_variable(name, environment[variable])
    if environment.get("AWS_ACCESS_KEY_ID"):
        key, secret = environment["AWS_ACCESS_KEY_ID"], environment.get("AWS_SECRET_ACCESS_KEY", "")
        session._credentials = Credentials(key, secret, environment.get("AWS_SESSION_TOKEN"))
    config = Config(connect_timeout=5, read_timeout=30, retries={"max_attempts": 3, "mode": "standard"})

    def client(service: str) -> Any:
        if service not in made:
            specific = environment.get(f"AWS_ENDPOINT_URL_{service.upper()}")
            made[service] = session.create_client(
                service,
                region_name=environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION"),
                endpoint_url=specific or environment.get("AWS_ENDPOINT_URL"),
                verify=environment.get("AWS_CA_BUNDLE"),
                config=config,
            )
        return made[service]

    return client


def _pages(client: Any, call: str, key: str, **arguments: Any) -> Iterator[Any]:
    for page in client.get_paginator(call).paginate(**arguments):
        yield from page.get(key, ())


def _name_of(found: Mapping[str, Any]) -> str:
    return next((tag["Value"] for tag in found.get("Tags", ()) if tag["Key"] == "Name"), "")


def _buckets(client: Clients) -> Iterator[Item]:
    for one in client("s3").list_buckets().get("Buckets", ()):
        yield Item("Bucket", one["Name"], one["Name"], f"arn:aws:s3:::{one['Name']}")


def _roles(client: Clients) -> Iterator[Item]:
    for one in _pages(client("iam"), "list_roles", "Roles"):
        # Those of services are AWS's own: nobody else may change them.
        if not one["Path"].startswith("/aws-service-role/"):
            yield Item("Role", one["RoleName"], one["RoleName"], one["Arn"])


def _policies(client: Clients) -> Iterator[Item]:
    for one in _pages(client("iam"), "list_policies", "Policies", Scope="Local"):
        yield Item("Policy", one["Arn"], one["PolicyName"], one["Arn"])


def _users(client: Clients) -> Iterator[Item]:
    for one in _pages(client("iam"), "list_users", "Users"):
        yield Item("User", one["UserName"], one["UserName"], one["Arn"])


def _groups(client: Clients) -> Iterator[Item]:
    for one in _pages(client("ec2"), "describe_security_groups", "SecurityGroups"):
        # Every network has one of this name, which comes and goes with it.
        if one["GroupName"] != "default":
            yield Item("SecurityGroup", one["GroupId"], one["GroupName"])


def _instances(client: Clients) -> Iterator[Item]:
    for reservation in _pages(client("ec2"), "describe_instances", "Reservations"):
        for one in reservation["Instances"]:
            if one["State"]["Name"] not in ("shutting-down", "terminated"):
                yield Item("Instance", one["InstanceId"], _name_of(one))


def _vpcs(client: Clients) -> Iterator[Item]:
    for one in _pages(client("ec2"), "describe_vpcs", "Vpcs"):
        if not one.get("IsDefault"):
            yield Item("Vpc", one["VpcId"], _name_of(one))


def _subnets(client: Clients) -> Iterator[Item]:
    for one in _pages(client("ec2"), "describe_subnets", "Subnets"):
        if not one.get("DefaultForAz"):
            yield Item("Subnet", one["SubnetId"], _name_of(one), one.get("SubnetArn", ""))


def _queues(client: Clients) -> Iterator[Item]:
    for url in _pages(client("sqs"), "list_queues", "QueueUrls"):
        name = url.rpartition("/")[2]
        yield Item("Queue", name, name)


def _tables(client: Clients) -> Iterator[Item]:
    for name in _pages(client("dynamodb"), "list_tables", "TableNames"):
        yield Item("Table", name, name)


_LISTS: Final[Mapping[str, Callable[[Clients], Iterator[Item]]]] = {
    "Bucket": _buckets,
    "Role": _roles,
    "Policy": _policies,
    "User": _users,
    "SecurityGroup": _groups,
    "Instance": _instances,
    "Vpc": _vpcs,
    "Subnet": _subnets,
    "Queue": _queues,
    "Table": _tables,
}
