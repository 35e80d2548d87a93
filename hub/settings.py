"""The hub's settings: few, each with a safe default.

Read once, in the composition root, from the command's options and from the environment (`QUANTUM_<NAME>`).
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from quantum_suite.core.errors import ConfigurationError

ENV_PREFIX = "QUANTUM_"


def _default_data_dir() -> Path:
    return Path(platformdirs.user_data_dir("quantum-suite", appauthor=False))


class Limits(BaseModel):
    """Bounds on what a client may send and hold."""

    model_config = ConfigDict(frozen=True)

    max_body_bytes: int = Field(default=4 * 1024 * 1024, description="Largest request body or stdio line.")
    max_header_bytes: int = Field(default=32 * 1024, description="Largest sum of a request's header lines.")
    max_nesting: int = Field(default=64, description="Deepest nesting of arrays and objects in a message.")
    max_sessions: int = Field(default=1000, description="Handshake sessions open at once.")
    session_idle_seconds: float = Field(default=1800, description="A silent handshake session ends after this.")
    call_deadline_seconds: float = Field(default=600, description="The longest a call may take.")
    long_call_deadline_seconds: float = Field(
        default=6 * 3600, description="The longest a task, or a call made by a workflow, may take."
    )
    upstream_message_bytes: int = Field(
        default=16 * 1024 * 1024, description="Largest single message an upstream may send."
    )
    calls_per_minute: int = Field(default=6000, description="Calls a principal may make in a minute.")
    drain_seconds: float = Field(default=10, description="How long shutdown waits for calls in flight.")


class HubSettings(BaseModel):
    """How this hub runs."""

    model_config = ConfigDict(frozen=True)

    host: str = Field(default="127.0.0.1", description="Address to listen on; others than loopback need keys.")
    port: int = Field(default=8765, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    data_dir: Path = Field(default_factory=_default_data_dir, description="Where keys, audit and scans are kept.")
    config: Path | None = Field(default=None, description="The mcp.json naming what to front.")
    workspaces: tuple[Path, ...] = Field(default=(), description="Directories tools may look at.")
    trust_local: bool = Field(
        default=True, description="Whether a caller on this machine is trusted without a key."
    )
    allowed_hosts: tuple[str, ...] = Field(default=(), description="Host names accepted besides loopback's.")
    allowed_origins: tuple[str, ...] = Field(default=(), description="Web origins accepted besides loopback's.")
    log_level: str = Field(default="info", description="debug, info, warning or error.")
    database: str = Field(
        default="sqlite",
        description="Where events, runs and leases are kept: sqlite (below data_dir) or postgresql://...",
    )
    bus: str = Field(default="inprocess", description="What carries events: inprocess or nats://host:port.")
    cache: str = Field(
        default="memory",
        description="What keeps caches and rate limits: memory (this process alone), sqlite (this machine's "
        "processes) or valkey://host:port/0.",
    )
    objects: str | None = Field(
        default=None, description="Where reports and artefacts are kept: file:///dir or s3://bucket/prefix."
    )
    leases: str | None = Field(
        default=None, description="What elects one worker among many: nats://host:port; the database when unset."
    )
    encryption_keys: str | None = Field(
        default=None,
        description="Where the keys of data at rest come from: file:///path, keyring://service or "
        "vault+https://host:port/mount/path.",
    )
    analytics: bool | None = Field(
        default=None,
        description="Whether events are kept in tables of plain text, where the extra `analytics` is installed; "
        "when unset, as long as encryption_keys is.",
    )
    notifications: Path | None = Field(
        default=None, description="The file that says who is told of what; none is read when unset."
    )
    embedding: str = Field(
        default="onnx-minilm",
        description="What turns text into vectors for search by meaning: onnx-minilm, "
        "sentence-transformers:FOLDER, openai+https://host/v1?model=NAME&dimensions=N or none.",
    )
    vectors: str = Field(
        default="auto",
        description="Where those vectors are kept: auto (Chroma or SQLite, below data_dir), chroma:, sqlite:, "
        "chroma+http://host:8000 or postgresql://host/database with pgvector.",
    )
    models: Path | None = Field(
        default=None,
        description="The providers.yaml that says which models may be asked; the one in data_dir when unset.",
    )
    metrics: str | None = Field(
        default=None,
        description="The sources of metrics: name=url pairs separated by commas, e.g. live=http://...",
    )
    alertmanager: str | None = Field(
        default=None, description="The Alertmanagers, as name=url pairs separated by commas."
    )
    stack_environment: str | None = Field(
        default=None,
        description="Variables of the hub's environment that infrastructure programs and providers get: names or "
        "patterns such as AWS_*, separated by commas. None when unset.",
    )
    stack_engine: Literal["embedded", "pulumi"] = Field(
        default="embedded",
        description="What runs infrastructure programs: embedded, or pulumi, the command of that name.",
    )
    stack_network: bool = Field(
        default=False,
        description="Whether infrastructure programs may use the network themselves; their providers always may.",
    )
    drills: Path | None = Field(
        default=None,
        description="Where recovery drills run; a folder in the system's temporary one when unset.",
    )
    otlp_endpoint: str | None = Field(default=None, description="OTLP/HTTP endpoint for traces; off when unset.")
    limits: Limits = Field(default_factory=Limits, description="Bounds on clients and upstreams.")

    @property
    def keys_file(self) -> Path:
        """Where API keys are kept: the hub and `quantum keys` open the same file."""
        return self.data_dir / "keys.db"

    @field_validator("workspaces", "allowed_hosts", "allowed_origins", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            separator = os.pathsep if os.pathsep in value else ","
            return tuple(part for part in value.split(separator) if part)
        return value


def read_settings(
    options: Mapping[str, Any] | None = None, environ: Mapping[str, str] = os.environ
) -> HubSettings:
    """Combine the environment and the command's options (which win); raises ConfigurationError naming the setting.

    Limits are read from `QUANTUM_LIMITS_<NAME>`.
    """
    values: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    for name in HubSettings.model_fields:
        if name != "limits" and (text := environ.get(ENV_PREFIX + name.upper())):
            values[name] = text
    for name in Limits.model_fields:
        if text := environ.get(f"{ENV_PREFIX}LIMITS_{name.upper()}"):
            limits[name] = text
    if limits:
        values["limits"] = limits
    values.update({key: value for key, value in (options or {}).items() if value is not None})
    try:
        return HubSettings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = "_".join(str(part) for part in first["loc"])
        raise ConfigurationError(
            f"Setting {where}: {first['msg']}.", f"Check {ENV_PREFIX}{where.upper()}."
        ) from error
