"""Makes an object store of a URL."""

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from obstore.exceptions import BaseError
from obstore.store import S3Store

from quantum_suite.core.errors import ConfigurationError
from quantum_suite.services.objects.bucket import PATIENCE_SECONDS, Bucket, first_line
from quantum_suite.services.objects.file_bucket import FileBucket
from quantum_suite.services.objects.memory import MemoryObjectStore
from quantum_suite.services.objects.obstore_store import ObstoreObjectStore

if TYPE_CHECKING:
    from obstore.store import S3Config

_ENDPOINT = re.compile(r"https?://[^\s/?#@]+/?")
_CONNECT_SECONDS = 3
_REQUEST_MINUTES = 15
_RETRIES = 3
_RETRY_SECONDS = 10


def open_object_store(
    url: str, environ: Mapping[str, str], *, patience_seconds: float = PATIENCE_SECONDS
) -> ObstoreObjectStore:
    """Return the store at `file:///directory`, `s3://bucket/prefix?endpoint=...&region=...` or `memory:`.

    Credentials for S3 come from `environ` (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN), and where
    it has none, from the machine's role. A request to S3 may take `patience_seconds`, and as long again for each
    8 MiB it moves. Nothing is asked of S3 yet. Raises ConfigurationError for a URL that cannot be used.
    """
    parts = urlsplit(url)
    if parts.scheme == "memory":
        return MemoryObjectStore()
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"):
        return ObstoreObjectStore(_file_bucket(Path(unquote(parts.path))))
    if parts.scheme == "s3" and parts.netloc:
        return ObstoreObjectStore(_s3_bucket(parts, environ, patience_seconds))
    raise ConfigurationError(
        f"'{parts.scheme}://{parts.netloc}' is no place for objects.",
        "Use file:///directory or s3://bucket/prefix?endpoint=https://host&region=name.",
    )


def _file_bucket(directory: Path) -> FileBucket:
    try:
        return FileBucket(directory)
    except (OSError, BaseError) as error:
        raise ConfigurationError(
            f"Objects cannot be kept in {directory}: {first_line(error)}.", "Mend it, or name another directory."
        ) from error


def _s3_bucket(parts: SplitResult, environ: Mapping[str, str], patience_seconds: float) -> Bucket:
    options = dict(parse_qsl(parts.query))
    endpoint, region = options.pop("endpoint", None), options.pop("region", "us-east-1")
    if endpoint is not None and not _ENDPOINT.fullmatch(endpoint):
        raise ConfigurationError(f"'{endpoint}' is no S3 endpoint.", "Use one like https://host:port.")
    if options:
        raise ConfigurationError(
            f"An S3 URL has no '{next(iter(options))}'.",
            "It has endpoint and region; keys come from AWS_* variables.",
        )
    config: S3Config = {"region": region, "virtual_hosted_style_request": endpoint is None}
    if endpoint is not None:
        config["endpoint"] = endpoint
    if key := environ.get("AWS_ACCESS_KEY_ID"):
        config["access_key_id"] = key
        config["secret_access_key"] = environ.get("AWS_SECRET_ACCESS_KEY", "")
    if token := environ.get("AWS_SESSION_TOKEN"):
        config["session_token"] = token
    try:
        store = S3Store(
            parts.netloc,
            prefix=parts.path.strip("/") or None,
            config=config,
            # The bound that counts is the bucket's own, by what a request moves.
            client_options={
                "allow_http": endpoint is not None and endpoint.startswith("http://"),
                "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
                "timeout": timedelta(minutes=_REQUEST_MINUTES),
            },
            retry_config={"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=_RETRY_SECONDS)},
        )
    except (BaseError, ValueError) as error:
        raise ConfigurationError(f"The S3 URL cannot be used: {first_line(error)}", "Mend it.") from error
    return Bucket(store, f"s3://{parts.netloc}{parts.path}", patience_seconds=patience_seconds)
