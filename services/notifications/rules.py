"""Who is told of what: the operator's file, as models."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from quantum_suite.core.errors import ConfigurationError
from quantum_suite.core.events import Event, EventFilter
from quantum_suite.services.notifications.templates import check_path, check_template, look_up

Scalar = str | bool | int | float | None
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
Template = Annotated[str, AfterValidator(check_template), Field(max_length=4000)]
FieldPath = Annotated[str, AfterValidator(check_path)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Secret(_Strict):
    """Where a secret is; never the secret itself."""

    env: str | None = Field(default=None, description="The environment variable that holds it.")
    file: Path | None = Field(default=None, description="The file that holds it, and nothing else.")

    @model_validator(mode="after")
    def _one(self) -> "Secret":
        if (self.env is None) == (self.file is None):
            raise ValueError("name either env or file")
        return self

    def read(self) -> str:
        """Return the secret; raises ConfigurationError naming where it was looked for."""
        if self.file is not None:
            try:
                value = self.file.expanduser().read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigurationError(f"The secret in {self.file} cannot be read.", "Mend the file.") from error
        else:
            value = os.environ.get(self.env or "", "")
        if not value:
            raise ConfigurationError(f"The secret in {self.file or self.env} is empty.", "Set it.")
        return value


class Condition(_Strict):
    """What must hold of one field. Everything given must hold."""

    equals: Scalar = Field(default=None, description="The very value.")
    at_least: float | None = Field(default=None, description="A number of at least this.")
    at_most: float | None = Field(default=None, description="A number of at most this.")
    one_of: tuple[Scalar, ...] | None = Field(default=None, description="Any of these values.")
    exists: bool | None = Field(default=None, description="Whether the field is there at all.")

    def holds(self, value: Any) -> bool:
        """Whether it holds of `value`."""
        number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
        return (
            ("equals" not in self.model_fields_set or _same(value, self.equals))
            and (self.at_least is None or (number is not None and number >= self.at_least))
            and (self.at_most is None or (number is not None and number <= self.at_most))
            and (self.one_of is None or any(_same(value, one) for one in self.one_of))
            and (self.exists is None or (value is not None) == self.exists)
        )


class Deduplicate(_Strict):
    """Tell the same thing once in a while."""

    key: Template = Field(description="What is the same, such as {data.root}.")
    seconds: float = Field(gt=0, le=31 * 86400, description="For how long it is not told again.")


class Rule(_Strict):
    """One kind of thing to be told."""

    name: Name = Field(description="Names the rule in messages.")
    events: tuple[str, ...] = Field(
        min_length=1, description="Types without version, exact (qsecure.scan.completed) or a prefix (qsecure.)."
    )
    where: dict[FieldPath, Condition] = Field(default_factory=dict, description="Conditions by field; all hold.")
    channels: tuple[Name, ...] = Field(min_length=1, description="Where it goes.")
    title: Template = Field(max_length=200, description="One line; {data.x} is replaced by the event's field.")
    text: Template = Field(default="", description="More lines.")
    deduplicate: Deduplicate | None = Field(default=None, description="Told every time when left out.")

    def wants(self, event: Event) -> bool:
        """Whether the rule is about this event."""
        if not EventFilter(types=frozenset(self.events)).matches(event.type, event.stream):
            return False
        return all(condition.holds(look_up(event, path)) for path, condition in self.where.items())


class WebhookChannel(_Strict):
    """A program elsewhere, told as Standard Webhooks lays down."""

    kind: Literal["webhook"]
    url: str | Secret = Field(description="Where to; a Secret when the address itself is one.")
    secret: Secret = Field(description="The signing key: whsec_ and base64, or any text.")
    allow_private_addresses: bool = Field(
        default=False, description="Whether it may be on this machine or its networks."
    )


class SlackChannel(_Strict):
    """A chat room with an incoming webhook in Slack's format (Slack, Mattermost, Rocket.Chat, ...)."""

    kind: Literal["slack"]
    url: Secret = Field(description="The webhook's address, which is a secret.")
    allow_private_addresses: bool = Field(
        default=False, description="Whether it may be on this machine or its networks."
    )


class EmailChannel(_Strict):
    """People, by SMTP."""

    kind: Literal["email"]
    host: str = Field(description="The mail server.")
    port: int = Field(default=587, ge=1, le=65535, description="Its port.")
    tls: Literal["starttls", "implicit", "none"] = Field(
        default="starttls", description="How the connection is encrypted; none is for a relay on this machine."
    )
    ca_file: Path | None = Field(default=None, description="Certificates to trust besides the system's.")
    username: str | None = Field(default=None, description="Who logs in; nobody when left out.")
    password: Secret | None = Field(default=None, description="With what.")
    sender: str = Field(pattern=r"^[^\s<>@]+@[^\s<>@]+$", description="The From address.")
    recipients: tuple[Annotated[str, Field(pattern=r"^[^\s<>@]+@[^\s<>@]+$")], ...] = Field(
        min_length=1, max_length=50, description="The To addresses."
    )


class NotificationRules(_Strict):
    """The whole file."""

    channels: dict[Name, Annotated[WebhookChannel | SlackChannel | EmailChannel, Field(discriminator="kind")]]
    rules: tuple[Rule, ...]

    @model_validator(mode="after")
    def _known_channels(self) -> "NotificationRules":
        for rule in self.rules:
            for channel in rule.channels:
                if channel not in self.channels:
                    raise ValueError(f"the rule {rule.name} names {channel}, which is no channel")
        if len({rule.name for rule in self.rules}) != len(self.rules):
            raise ValueError("two rules have the same name")
        return self


def _same(left: Any, right: Any) -> bool:
    """Whether two scalars are equal; true is not 1."""
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)
