"""What all AWS providers share: how AWS is reached, and a life from check to delete."""

import functools
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import pulumi
from pulumi.dynamic import (
    CheckFailure,
    CheckResult,
    CreateResult,
    DiffResult,
    ReadResult,
    Resource,
    ResourceProvider,
    UpdateResult,
)
from pulumi.runtime import rpc

from quantum_suite.services.infrastructure.library.properties import (
    IDENTITY,
    Property,
    checked,
    differing,
    holds_unknown,
)

TOKEN = "__token"  # noqa: S105 - names a resource, opens nothing
"""An input that tells one resource of one stack from all others."""

TOKEN_TAG = "quantum:resource"  # noqa: S105 - the name of a tag
"""By this tag a resource is found again whose id AWS makes up."""

WAIT = {"Delay": 2, "MaxAttempts": 300}
"""How long a change may take: ten minutes."""


@dataclass(frozen=True, slots=True)
class Connection:
    """How AWS is reached. What is left out comes from the standard AWS environment variables and profiles."""

    region: str = ""
    endpoint: str = ""
    """Another address than AWS's own, for what speaks its API."""
    profile: str = ""
    access_key_id: str = ""
    secret_access_key: str = ""
    """With keys of its own a resource's provider is kept as a secret in the state."""
    session_token: str = ""


class AwsFailed(Exception):
    """AWS refused, or could not be reached; in words."""


@functools.lru_cache(maxsize=64)
def client(service: str, connection: Connection) -> Any:
    """Return a client of an AWS service; one for each provider process, because they are slow to make."""
    import boto3
    from botocore.config import Config

    session = boto3.session.Session(
        region_name=connection.region or None,
        profile_name=connection.profile or None,
        aws_access_key_id=connection.access_key_id or None,
        aws_secret_access_key=connection.secret_access_key or None,
        aws_session_token=connection.session_token or None,
    )
    config = Config(connect_timeout=10, read_timeout=60, retries={"max_attempts": 6, "mode": "standard"})
    return session.client(service, endpoint_url=connection.endpoint or None, config=config)


def error_code(error: BaseException) -> str:
    """Return AWS's code of an error; empty where it has none."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, Mapping) else ""


class _AbsentIsFine:
    """Lets pass that something is not there."""

    def __init__(self, codes: tuple[str, ...]) -> None:
        self._codes = codes

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        return error is not None and error_code(error) in self._codes


def absent_is_fine(*codes: str) -> _AbsentIsFine:
    """Let pass that something is not there, as AWS's codes say it."""
    return _AbsentIsFine(codes)


def or_absent(call: Callable[[], Any], *codes: str) -> Any:
    """Return what a call answers; None where the thing is not there."""
    with absent_is_fine(*codes):
        return call()
    return None


@contextmanager
def in_words(what: str) -> Iterator[None]:
    """Say of an error what was being done, and what would help."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError

    try:
        yield
    except NoCredentialsError:
        raise AwsFailed(f"{what}: there are no AWS credentials. Grant AWS_ACCESS_KEY_ID and the like.") from None
    except NoRegionError:
        raise AwsFailed(f"{what}: no AWS region is set. Set AWS_DEFAULT_REGION.") from None
    except ClientError as error:
        said = error.response.get("Error", {}).get("Message", "")
        raise AwsFailed(f"{what}: AWS refused {error.operation_name} ({error_code(error)}): {said}") from None
    except BotoCoreError as error:
        raise AwsFailed(f"{what}: {error}") from None


class AwsProvider(ResourceProvider):
    """A kind of resource. What it is made of is in `properties`; subclasses make, read, change and delete it."""

    serialize_as_secret_always = False
    word: ClassVar[str] = "resource"
    properties: ClassVar[Mapping[str, Property]] = {}

    def __init__(self, connection: Connection | None = None) -> None:
        super().__init__()
        self.connection = connection or Connection()
        if self.connection.secret_access_key:
            # The instance, not the class: a provider that holds keys is sealed in the state.
            self.serialize_as_secret_always = True

    def service(self, name: str) -> Any:
        """Return a client of a service."""
        return client(name, self.connection)

    # What a kind of resource says of itself

    def identity(self, inputs: Mapping[str, Any]) -> str:
        """Return under which id `observe` finds what is about to be made; `inputs` are known where it looks."""
        return str(inputs["name"])

    def identifying(self) -> tuple[str, ...]:
        """Return the inputs that decide the identity."""
        return ("name",)

    def problems(self, inputs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield what is wrong with inputs that are right one by one."""
        yield from ()

    def make(self, inputs: Mapping[str, Any]) -> str:
        """Make it, as bare as can be; return its id."""
        raise NotImplementedError

    def bring(self, made: str, olds: Mapping[str, Any], news: Mapping[str, Any], names: list[str]) -> None:
        """Bring the properties of those names to what they are to be."""
        raise NotImplementedError

    def observe(self, made: str, known: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
        """Return its id and all its properties as the world has them; None where it is not there."""
        raise NotImplementedError

    def remove(self, made: str, known: Mapping[str, Any]) -> None:
        """Delete it; what is gone already is gone."""
        raise NotImplementedError

    # The life that all of them share

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Return the inputs in their one form, and where to look for what they make."""
        inputs, wrong = checked(self.properties, {key: value for key, value in news.items() if key != IDENTITY})
        if not wrong:
            wrong += list(self.problems(inputs))
        if not wrong:
            unknown = any(holds_unknown(inputs.get(name)) for name in self.identifying())
            inputs[IDENTITY] = rpc.UNKNOWN if unknown else self.identity(inputs)
        return CheckResult(inputs, [CheckFailure(name, words) for name, words in wrong])

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Compare what there is with what is to be."""
        names = differing(self.properties, olds, news)
        replaces = [name for name in names if self.properties[name].replaces]
        return DiffResult(changes=bool(names), replaces=replaces)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Make it, and all that belongs to it."""
        with in_words(f"Creating the {self.word}"):
            made = self.make(props)
            names = [name for name in self.properties if props.get(name) is not None]
            self.bring(made, {}, props, names)
            return CreateResult(made, self._observed(made, props))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Return it as it is."""
        with in_words(f"Reading the {self.word} {id_}"):
            found = self.observe(id_, props)
        if found is None:
            return ReadResult(None, {})
        made, outputs = found
        kept = {key: props[key] for key in (TOKEN, IDENTITY) if key in props}
        inputs = {name: value for name, value in outputs.items() if name in self.properties}
        return ReadResult(made, {**outputs, **kept}, {**inputs, **kept})

    def update(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Change what is other than it is to be."""
        with in_words(f"Changing the {self.word} {id_}"):
            self.bring(id_, olds, news, differing(self.properties, olds, news))
            return UpdateResult(self._observed(id_, news))

    def delete(self, id_: str, props: dict[str, Any]) -> None:
        """Delete it."""
        with in_words(f"Deleting the {self.word} {id_}"):
            self.remove(id_, props)

    def _observed(self, made: str, props: Mapping[str, Any]) -> dict[str, Any]:
        found = self.observe(made, props)
        if found is None:
            raise AwsFailed(f"The {self.word} {made} is not there, though it was made a moment ago.")
        kept = {key: props[key] for key in (TOKEN, IDENTITY) if key in props}
        return {**found[1], **kept}


class AwsResource(Resource):
    """A resource of AWS. Properties left out are what the provider says; `computed` are told once it exists."""

    provider_type: ClassVar[type[AwsProvider]]
    computed: ClassVar[tuple[str, ...]] = ("arn",)

    def __init__(
        self,
        resource_name: str,
        *,
        connection: Connection | None = None,
        opts: pulumi.ResourceOptions | None = None,
        **properties: Any,
    ) -> None:
        known = self.provider_type.properties
        unknown = sorted(set(properties) - set(known))
        if unknown:
            raise TypeError(f"{type(self).__name__} has no {', '.join(unknown)}; it has {', '.join(known)}")
        given: dict[str, Any] = {**dict.fromkeys((*known, *self.computed)), **properties}
        if "name" in known and given["name"] is None:
            given["name"] = physical_name(resource_name)
        given[TOKEN] = token(type(self).__name__, resource_name)
        super().__init__(self.provider_type(connection), resource_name, given, opts)


def physical_name(resource_name: str, longest: int = 63) -> str:
    """Return what a resource is called in AWS where the program does not say: the same for every run."""
    whole = f"{pulumi.get_project()}-{pulumi.get_stack()}-{resource_name}"
    name = re.sub(r"[^a-z0-9-]+", "-", whole.lower()).strip("-")
    if name == whole and len(name) <= longest:
        return name
    return f"{name[: longest - 9].rstrip('-')}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


def token(kind: str, resource_name: str) -> str:
    """Return what tells this resource of this stack from all others, the same for every run."""
    whole = "\n".join((pulumi.get_project(), pulumi.get_stack(), kind, resource_name))
    return hashlib.sha256(whole.encode()).hexdigest()[:24]


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Return tags as AWS takes them."""
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


def tag_map(tags: Any) -> dict[str, str]:
    """Return tags by name, without those that AWS and this library keep for themselves."""
    found = {tag["Key"]: tag["Value"] for tag in tags or ()}
    return {key: found[key] for key in sorted(found) if key != TOKEN_TAG and not key.startswith("aws:")}


def tag_changes(olds: Mapping[str, Any], news: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """Return the tags to set and the names of those to take away."""
    before, after = olds.get("tags") or {}, news.get("tags") or {}
    return dict(after), [key for key in before if key not in after]
