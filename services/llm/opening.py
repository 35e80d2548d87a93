"""Opens the gateway from its configuration file."""

import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import httpx2

from quantum_suite.core.errors import ConfigurationError, SuiteError
from quantum_suite.core.llm_events import LLM_EVENTS
from quantum_suite.services.cache.interface import Cache
from quantum_suite.services.cache.memory import MemoryCache
from quantum_suite.services.events.interface import Appender, EventStore
from quantum_suite.services.events.outbox import EventOutbox
from quantum_suite.services.limits.interface import RateLimiter
from quantum_suite.services.limits.memory import MemoryRateLimiter
from quantum_suite.services.llm.answer_cache import AnswerCache
from quantum_suite.services.llm.configuration import ProviderOptions
from quantum_suite.services.llm.gateway import ModelGateway
from quantum_suite.services.llm.interface import Provider
from quantum_suite.services.llm.ledger.folding import fold_again_and_again
from quantum_suite.services.llm.ledger.interface import Ledger
from quantum_suite.services.llm.ledger.sqlite import SqliteLedger
from quantum_suite.services.llm.loading import credentials, load_models
from quantum_suite.services.llm.prices import PriceList
from quantum_suite.services.llm.provider_gate import ProviderGate
from quantum_suite.services.llm.providers.anthropic_messages import AnthropicMessagesProvider
from quantum_suite.services.llm.providers.http import Endpoint, ModelServer
from quantum_suite.services.llm.providers.openai_compatible import OpenAICompatibleProvider, Tokenizer
from quantum_suite.services.llm.unconfigured import UnconfiguredGateway

AnyGateway = ModelGateway | UnconfiguredGateway

CONFIG_FILE = "providers.yaml"
"""In the data directory; read where no setting names another."""
LEDGER_FILE = "ledger.db"
OUTBOX_FILE = "model-calls.db"
"""What is on its way to the event store."""

_TOKENIZERS: Mapping[str, Tokenizer] = {"llama.cpp": "llama.cpp", "vllm": "vllm"}
_SHORTEST_SECRET = 6
_LAST_SECONDS = 5.0
_ANTHROPIC_VERSION = "2023-06-01"


@asynccontextmanager
async def open_models(
    data_dir: Path,
    config_path: Path | None,
    *,
    events: EventStore,
    cache: Cache | None,
    limiter: RateLimiter,
    ledger: Ledger | None = None,
    environ: Mapping[str, str] = os.environ,
) -> AsyncIterator[AnyGateway]:
    """Open the gateway of a data directory: what it spends is kept there unless a `ledger` is given, and
    `providers.yaml` is read from there unless `config_path` names another. `cache` is None where every process
    keeps its own. Calls are in `events` a moment after they end, or once it is there again.

    Raises ConfigurationError for a file that is wrong.
    """
    beside = data_dir / CONFIG_FILE
    path = config_path or (beside if beside.exists() else None)
    async with AsyncExitStack() as stack:
        books = ledger or stack.enter_context(SqliteLedger(data_dir / LEDGER_FILE))
        outbox = stack.enter_context(EventOutbox(data_dir / OUTBOX_FILE, events, LLM_EVENTS))
        gateway = await stack.enter_async_context(
            open_gateway(
                path,
                ledger=books,
                cache=MemoryCache() if cache is None else cache,
                events=outbox,
                limiter=limiter,
                environ=environ,
            )
        )
        if isinstance(gateway, ModelGateway):
            await stack.enter_async_context(_looked_after(books, gateway.config.charges_kept_days, outbox))
        yield gateway


@asynccontextmanager
async def _looked_after(ledger: Ledger, kept_days: int, outbox: EventOutbox) -> AsyncIterator[None]:
    """Fold old charges meanwhile, and bring the calls' events to the store; at the end those that are left."""
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fold_again_and_again, ledger, kept_days)
        tasks.start_soon(outbox.run)
        try:
            yield
        except Exception as error:
            failure = error  # raised below, so that the task group does not wrap it
        tasks.cancel_scope.cancel()
    with anyio.move_on_after(_LAST_SECONDS), suppress(SuiteError):
        while await outbox.carry():  # what cannot be stored now is when the next process starts
            pass
    if failure is not None:
        raise failure


@asynccontextmanager
async def open_gateway(
    config_path: Path | None,
    *,
    ledger: Ledger,
    cache: Cache | None = None,
    events: Appender | None = None,
    limiter: RateLimiter | None = None,
    environ: Mapping[str, str] = os.environ,
) -> AsyncIterator[AnyGateway]:
    """Open the gateway; without a path one that says how to configure it.

    A provider whose key is not there is unusable and says so; the others are used. Raises ConfigurationError for a
    file that is wrong. The caller keeps `ledger`, `cache`, `events` and `limiter`, and closes them after.
    """
    if config_path is None:
        yield UnconfiguredGateway(ledger)
        return
    config = load_models(config_path)
    limits = limiter or MemoryRateLimiter()
    providers: dict[str, Provider] = {}
    gates: dict[str, ProviderGate] = {}
    async with AsyncExitStack() as stack:
        tls = _tls(config.providers)
        for name, options in config.providers.items():
            key, headers, problem = _credentials(options, environ)
            client = await stack.enter_async_context(_client(options, tls))
            providers[name] = _provider(name, options, client, key, headers)
            gates[name] = ProviderGate(name, options, limits, problem=problem)
        kept = AnswerCache(cache, config.answers_kept_seconds) if cache is not None else None
        yield ModelGateway(config, providers, gates, ledger, cache=kept, events=events, prices=PriceList())


def _credentials(options: ProviderOptions, environ: Mapping[str, str]) -> tuple[str, dict[str, str], str | None]:
    """Return the key, further headers, and what is missing."""
    try:
        return *credentials(options, environ), None
    except ConfigurationError as error:
        return "", {}, str(error)


def _tls(providers: Mapping[str, ProviderOptions]) -> ssl.SSLContext | bool:
    """Return one context for all: reading the certificates takes as long as everything else here."""
    encrypted = any(
        urlsplit(url).scheme == "https" for one in providers.values() for url in (one.url, one.proxy or "")
    )
    return ssl.create_default_context() if encrypted else False


def _client(options: ProviderOptions, tls: ssl.SSLContext | bool) -> httpx2.AsyncClient:
    client = httpx2.AsyncClient(
        verify=tls,
        follow_redirects=False,
        # Neither proxies nor passwords from somewhere else: what is used is written in the file.
        trust_env=False,
        proxy=options.proxy,
        # Two more than there are places, for counting tokens.
        limits=httpx2.Limits(
            max_connections=options.concurrency + 2, max_keepalive_connections=options.concurrency
        ),
    )
    client.headers["user-agent"] = "quantum-suite"
    return client


def _provider(
    name: str, options: ProviderOptions, client: httpx2.AsyncClient, key: str, headers: Mapping[str, str]
) -> Provider:
    endpoint = Endpoint(
        name,
        options.url,
        {**_key_headers(options, key), **headers},
        {"api-version": options.api_version} if options.kind == "azure" and options.api_version else {},
        options.connect_seconds,
        options.silence_seconds,
        options.body,
        tuple(secret for secret in (key, *headers.values()) if len(secret) >= _SHORTEST_SECRET),
    )
    server = ModelServer(endpoint, client)
    if options.kind == "anthropic":
        return AnthropicMessagesProvider(server)
    return OpenAICompatibleProvider(
        server,
        deployments=options.kind == "azure",
        max_tokens_field="max_completion_tokens" if options.kind in ("openai", "azure") else "max_tokens",
        tokenizer=_TOKENIZERS.get(options.kind),
    )


def _key_headers(options: ProviderOptions, key: str) -> dict[str, str]:
    if options.kind == "anthropic":
        version = {"anthropic-version": options.api_version or _ANTHROPIC_VERSION}
        return {**version, "x-api-key": key} if key else version
    if not key:
        return {}
    return {"api-key": key} if options.kind == "azure" else {"authorization": f"Bearer {key}"}
