"""`providers.yaml`: which models there are, in which order they are tried, and what may be spent.

Read strictly: what is not known is refused with its place, and a key is never written into the file itself.
"""

import ipaddress
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Kind = Literal["openai", "azure", "openai_compatible", "vllm", "ollama", "llama.cpp", "anthropic"]

_NAME = r"^[a-z0-9][a-z0-9_.-]{0,31}$"
_VARIABLE = re.compile(r"\$\{([A-Z_][A-Z0-9_]*)\}")
_BASE_URLS: Mapping[str, str] = {
    "openai": "https://api.openai.com/v1",
    "ollama": "http://127.0.0.1:11434/v1",
    "anthropic": "https://api.anthropic.com",
}
_NEEDS_KEY = ("openai", "azure", "anthropic")


class _Written(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Price(_Written):
    """What tokens cost."""

    input_usd_per_million: float = Field(ge=0, description="US dollars for a million tokens sent.")
    output_usd_per_million: float = Field(ge=0, description="US dollars for a million tokens received.")


class ModelOptions(_Written):
    """What is known of one model."""

    context_tokens: int | None = Field(
        default=None, ge=1, description="What question and answer may take together; asked elsewhere beyond it."
    )
    price: Price | Literal["free"] | None = Field(
        default=None,
        description="Overrides the shipped price list. Left out, models at loopback addresses are free.",
    )
    structured: Literal["native", "instruction"] | None = Field(
        default=None, description="How JSON is asked for; the provider's choice where left out."
    )


class ProviderOptions(_Written):
    """One model server, as written."""

    kind: Kind = Field(description="The protocol and its dialect.")
    base_url: str = Field(default="", description="Where it is; known for openai, anthropic and ollama.")
    api_key: str | None = Field(default=None, description="${VARIABLE} of the environment; never the key itself.")
    api_key_file: str | None = Field(default=None, description="A file that holds the key: /path or ~/path.")
    api_key_keyring: str | None = Field(
        default=None, description="service/user of the system's keyring that holds the key; the extra `keyring`."
    )
    api_version: str | None = Field(default=None, description="Azure's api-version, or Anthropic's version.")
    headers: dict[str, str] = Field(default_factory=dict, description="More headers; ${VARIABLE} is replaced.")
    body: dict[str, Any] = Field(default_factory=dict, description="Put into every request as it is.")
    proxy: str | None = Field(default=None, description="URL of an HTTP proxy to go through.")
    allow_unencrypted: bool = Field(default=False, description="Allow http:// beyond private addresses.")
    models: dict[str, ModelOptions] = Field(min_length=1, description="Its models, by the name it knows them by.")
    structured: Literal["native", "instruction"] = Field(default="native", description="How JSON is asked for.")
    attempts: int = Field(default=3, ge=1, le=10, description="Most times one request is sent to it.")
    concurrency: int = Field(default=8, ge=1, le=1000, description="Most requests to it at once.")
    requests_per_minute: float | None = Field(default=None, gt=0, description="Most requests to it a minute.")
    tokens_per_minute: float | None = Field(default=None, gt=0, description="Most tokens a minute, estimated.")
    connect_seconds: float = Field(default=10.0, gt=0, description="How long a connection may take.")
    silence_seconds: float = Field(default=60.0, gt=0, description="Longest pause within an answer and before it.")
    disabled: bool = Field(default=False, description="Declared, but not to be used.")

    @field_validator("api_key")
    @classmethod
    def _key_is_elsewhere(cls, value: str | None) -> str | None:
        if value is not None and not _VARIABLE.fullmatch(value):
            raise ValueError(
                "a key does not belong into this file: write ${VARIABLE}, or use api_key_file or api_key_keyring"
            )
        return value

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        places = [self.api_key, self.api_key_file, self.api_key_keyring]
        if sum(place is not None for place in places) > 1:
            raise ValueError("give one of api_key, api_key_file and api_key_keyring")
        if self.api_key_file is not None and not self.api_key_file.startswith(("/", "~/")):
            raise ValueError("api_key_file must be /path or ~/path")
        if self.api_key_keyring is not None and not re.fullmatch(r"[^/]+/[^/]+", self.api_key_keyring):
            raise ValueError("api_key_keyring must be service/user")
        if self.kind in _NEEDS_KEY and self.keyless and not self.local:
            raise ValueError(f"{self.kind} needs api_key, api_key_file or api_key_keyring")
        if self.kind == "azure" and self.api_version is None:
            raise ValueError("azure needs api_version, such as 2024-10-21")
        _check_url(self.url, self.allow_unencrypted)
        return self

    @property
    def keyless(self) -> bool:
        """Whether no key is named."""
        return self.api_key is None and self.api_key_file is None and self.api_key_keyring is None

    @property
    def url(self) -> str:
        """Where it is."""
        return self.base_url or _BASE_URLS.get(self.kind, "")

    @cached_property
    def local(self) -> bool:
        """Whether it is on this machine."""
        return _address(urlsplit(self.url).hostname or "") == "loopback"


class BudgetOptions(_Written):
    """What may be spent in a day or month (UTC)."""

    principal: str = Field(
        default="each", description="each: every principal alone; all: everybody together; else a principal's id."
    )
    per: Literal["day", "month"] = Field(description="When it begins anew, at midnight UTC.")
    usd: float | None = Field(default=None, gt=0, description="Most US dollars.")
    tokens: int | None = Field(default=None, gt=0, description="Most tokens, sent and received.")

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.usd is None and self.tokens is None:
            raise ValueError("give usd, tokens or both")
        return self


class MaskingOptions(_Written):
    """What does not leave as it is."""

    secrets: bool = Field(default=True, description="Credentials, by shape and by the name beside them.")
    personal: bool = Field(default=True, description="Card numbers, IBANs, e-mail addresses, telephone numbers.")
    ip_addresses: bool = Field(default=False, description="IP addresses.")


class ModelsConfig(_Written):
    """The whole file."""

    providers: dict[str, ProviderOptions] = Field(min_length=1, description="Model servers by name.")
    routes: dict[str, list[str]] = Field(
        default_factory=dict, description="Names for models: each is tried in this order (provider/model)."
    )
    budgets: list[BudgetOptions] = Field(default_factory=list, description="What may be spent.")
    masking: MaskingOptions = Field(default_factory=MaskingOptions, description="What does not leave as it is.")
    answers_kept_seconds: float = Field(
        default=86_400,
        ge=0,
        description="How long an answer that its schema accepted answers the same request; 0: never.",
    )
    charges_kept_days: int = Field(
        default=90,
        ge=2,
        le=3650,
        description="How long every attempt stays in the ledger by itself; older ones become daily sums.",
    )
    schema_rounds: int = Field(
        default=3, ge=1, le=5, description="How often JSON is asked for before it is refused."
    )

    @field_validator("providers")
    @classmethod
    def _names(cls, value: dict[str, ProviderOptions]) -> dict[str, ProviderOptions]:
        for name in value:
            if not re.match(_NAME, name):
                raise ValueError(f"'{name}' cannot name a provider: lower-case letters, digits, '.', '_', '-'")
        return value


def missing_targets(config: ModelsConfig) -> list[tuple[str, int, str]]:
    """Return what routes lead nowhere: route, number, why."""
    found = []
    for route, targets in config.routes.items():
        if not targets:
            found.append((route, -1, "this route leads nowhere: name at least one provider/model"))
        for number, target in enumerate(targets):
            provider, _, model = target.partition("/")
            if provider not in config.providers:
                found.append((route, number, f"there is no provider '{provider}'"))
            elif model not in config.providers[provider].models:
                known = ", ".join(config.providers[provider].models)
                found.append((route, number, f"{provider} has no model '{model}', but {known}"))
    return found


def variable_of(text: str) -> str | None:
    """Return the variable that `${VARIABLE}` names; None for anything else."""
    match = _VARIABLE.fullmatch(text)
    return match[1] if match else None


def expand(text: str, environ: Mapping[str, str]) -> str:
    """Return `text` with `${VARIABLE}` replaced; raises KeyError naming one that is not set."""
    return _VARIABLE.sub(lambda match: environ[match[1]], text)


def _check_url(url: str, allow_unencrypted: bool) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("base_url must be https://..., or http:// to a machine of your own")
    if parts.username or parts.password:
        raise ValueError("base_url must not hold credentials")
    if parts.scheme == "http" and not allow_unencrypted and _address(parts.hostname) == "elsewhere":
        raise ValueError("base_url is not encrypted: use https://, or set allow_unencrypted where that is right")


def _address(host: str) -> Literal["loopback", "private", "elsewhere"]:
    if host == "localhost" or host.endswith(".localhost"):
        return "loopback"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "elsewhere"
    if address.is_loopback:
        return "loopback"
    return "private" if address.is_private else "elsewhere"
