"""Makes an embedder of a setting."""

import json
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit, urlunsplit

from quantum_suite.core.errors import ConfigurationError, EngineMissing
from quantum_suite.services.knowledge.embedding.hashing import HashingEmbedder
from quantum_suite.services.knowledge.embedding.onnx_minilm import OnnxMiniLmEmbedder
from quantum_suite.services.knowledge.embedding.openai_compatible import Endpoint, OpenAiCompatibleEmbedder
from quantum_suite.services.knowledge.embedding.query_cache import QueryCache
from quantum_suite.services.knowledge.embedding.sentence_transformers import SentenceTransformersEmbedder
from quantum_suite.services.knowledge.interface import Embedder
from quantum_suite.services.outbound import open_outbound

DEFAULT = "onnx-minilm"
_USE = "Use onnx-minilm, sentence-transformers:FOLDER, openai+https://host/v1?model=NAME&dimensions=N or none."
_ENDPOINT_OPTIONS = frozenset(
    {"model", "dimensions", "key_env", "query_prefix", "document_prefix", "max_characters", "shorten"}
)
_REQUEST_SECONDS = 60.0
_PATIENCE_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class Embedding:
    """What texts are embedded with; where that is nothing, `reason` says why and what changes it."""

    embedder: Embedder | None
    reason: str = ""


@asynccontextmanager
async def open_embedding(
    setting: str, environ: Mapping[str, str], *, threads: int | None = None
) -> AsyncIterator[Embedding]:
    """Open what `setting` names; nothing is loaded or asked yet.

    `onnx-minilm` is the default. `sentence-transformers:MODEL?dimensions=N` runs a model on this machine; a folder
    says its dimensions itself. `openai+http(s)://host/v1?model=NAME&dimensions=N` is any such endpoint; it may
    have `key_env` (the variable of `environ` that holds the key), `query_prefix`, `document_prefix`,
    `max_characters` and `shorten=yes`. `hashing` compares words alone. `none` searches without meaning.

    Missing packages are no error: search by words works without them, and `reason` names the command that installs
    them. Raises ConfigurationError for a setting that cannot be used.
    """
    if setting == "none":
        yield Embedding(
            None, "Search by meaning is switched off: the setting is none, and onnx-minilm turns it on."
        )
        return
    async with AsyncExitStack() as stack:
        try:
            embedder = await _open(setting, environ, threads, stack)
        except EngineMissing as error:
            yield Embedding(None, str(error))
            return
        yield Embedding(QueryCache(embedder))


async def _open(setting: str, environ: Mapping[str, str], threads: int | None, stack: AsyncExitStack) -> Embedder:
    if setting == "hashing":
        return HashingEmbedder()
    if setting == DEFAULT:
        worker = await stack.enter_async_context(OnnxMiniLmEmbedder(threads=threads))
        worker.check()
        return worker
    kind, _, rest = setting.partition(":")
    if kind == "sentence-transformers" and rest:
        model, dimensions = _local_model(rest)
        local = await stack.enter_async_context(SentenceTransformersEmbedder(model, dimensions=dimensions))
        local.check()
        return local
    if kind in ("openai+http", "openai+https"):
        endpoint = _endpoint(setting, environ)
        client = open_outbound(timeout_seconds=_REQUEST_SECONDS, patience_seconds=_PATIENCE_SECONDS)
        return OpenAiCompatibleEmbedder(endpoint, await stack.enter_async_context(client))
    raise ConfigurationError(f"'{setting[:100]}' is no way to embed text.", _USE)


def _local_model(rest: str) -> tuple[str, int]:
    """Return a model's folder or name, and how long its vectors are."""
    name, _, query = rest.partition("?")
    options = dict(parse_qsl(query))
    given = options.pop("dimensions", None)
    if options:
        raise ConfigurationError(f"sentence-transformers has no option '{next(iter(options))}'.", _USE)
    folder = Path(os.path.expanduser(unquote(name)))  # noqa: PTH111 - Path.expanduser raises for a name with a tilde
    model = str(folder) if folder.is_dir() else name
    dimensions = _number("dimensions", given) if given is not None else _dimensions_of(folder)
    if dimensions is None:
        raise ConfigurationError(
            f"How long the vectors of {model} are is not known: it is no folder that says so.",
            f"Name the model's folder, or say it: sentence-transformers:{model}?dimensions=N.",
        )
    return model, dimensions


def _dimensions_of(folder: Path) -> int | None:
    """Return what a model's modules say: that of the last one that changes the length."""
    for pattern, key in (
        ("*_Dense/config.json", "out_features"),
        ("*_Pooling/config.json", "word_embedding_dimension"),
    ):
        for file in sorted(folder.glob(pattern), reverse=True):
            try:
                value = json.loads(file.read_bytes()).get(key)
            except (OSError, ValueError, AttributeError):
                continue
            if isinstance(value, int) and value > 0:
                return value
    return None


def _endpoint(setting: str, environ: Mapping[str, str]) -> Endpoint:
    parts = urlsplit(setting.removeprefix("openai+"))
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = options.keys() - _ENDPOINT_OPTIONS
    if unknown or not parts.hostname or not options.get("model"):
        wrong = f"has no option '{min(unknown)}'" if unknown else "needs a host and ?model=NAME"
        raise ConfigurationError(f"The embedding endpoint {_shown(parts)} {wrong}.", _USE)
    if parts.username or parts.password:
        raise ConfigurationError(
            f"The embedding endpoint {_shown(parts)} has its key in the URL.", "Use key_env=NAME of a variable."
        )
    if "dimensions" not in options:
        raise ConfigurationError(f"The embedding endpoint {_shown(parts)} needs dimensions=N.", _USE)
    return Endpoint(
        url=urlunsplit((parts.scheme, parts.netloc, parts.path, "", "")),
        model=options["model"],
        dimensions=_number("dimensions", options["dimensions"]),
        api_key=_key(options.get("key_env"), environ),
        query_prefix=options.get("query_prefix", ""),
        document_prefix=options.get("document_prefix", ""),
        max_characters=_number("max_characters", options.get("max_characters", "8000")),
        shorten=_yes("shorten", options.get("shorten", "no")),
    )


def _key(variable: str | None, environ: Mapping[str, str]) -> str:
    if variable is None:
        return ""
    if not re.fullmatch(r"[A-Za-z_]\w*", variable) or not environ.get(variable):
        raise ConfigurationError(
            f"The variable {variable[:60]} that holds the key of the embedding endpoint is not set.",
            "Set it, or leave key_env out for an endpoint without keys.",
        )
    return environ[variable]


def _number(option: str, text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,5}", text):
        raise ConfigurationError(f"{option}={text[:30]} is no whole number over 0.", f"Use one like {option}=384.")
    return int(text)


def _yes(option: str, text: str) -> bool:
    if text not in ("yes", "no"):
        raise ConfigurationError(f"{option}={text[:30]} is neither yes nor no.", f"Use {option}=yes.")
    return text == "yes"


def _shown(parts: SplitResult) -> str:
    return f"{parts.scheme}://{parts.hostname or ''}"
