"""Any endpoint that speaks OpenAI's embeddings: https://platform.openai.com/docs/api-reference/embeddings

So OpenAI, Azure, vLLM, Ollama, llama.cpp, text-embeddings-inference.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2
import orjson

from quantum_suite.core.errors import EngineError, Unavailable
from quantum_suite.core.masking import mask_text
from quantum_suite.services.outbound import OutboundClient, OutboundReply, OutboundRequest

_TEXTS_A_REQUEST = 32
_NUMBER_BYTES = 32
"""The longest a number of a vector is written, with its comma."""
_ENVELOPE_BYTES = 64 * 1024
_USUAL_DIMENSIONS = 4_096
"""Vectors up to this length are read even where fewer numbers were configured, to say how long they are."""
_SHORTEST_CHARACTERS = 64
_TOO_LONG = re.compile(
    r"too (large|long)|maximum (context|length|input)|context (length|size|window)|token limit", re.I
)
_SIZE_STATUSES = frozenset({400, 413, 422, 500})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where vectors are asked for, and how."""

    url: str
    """Up to and with the version: `https://host/v1`."""
    model: str
    dimensions: int
    api_key: str = field(default="", repr=False)
    query_prefix: str = ""
    """Put before queries, for models that were trained so; likewise before documents."""
    document_prefix: str = ""
    max_characters: int = 8_000
    """Of a text, its beginning of this length is sent; less where the endpoint finds it too long."""
    shorten: bool = False
    """Whether the endpoint is asked to cut its vectors to `dimensions`, as OpenAI's newer models can."""


class OpenAiCompatibleEmbedder:
    """Asks an endpoint, some texts a request. `client` belongs to the caller."""

    def __init__(self, endpoint: Endpoint, client: OutboundClient) -> None:
        self._endpoint = endpoint
        self._client = client
        self._host = httpx2.URL(endpoint.url).host

    @property
    def model(self) -> str:
        """The endpoint's host, and the model's name and length of vectors."""
        return f"{self._host}/{self._endpoint.model}-{self._endpoint.dimensions}"

    @property
    def dimensions(self) -> int:
        """The vectors' length."""
        return self._endpoint.dimensions

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        """Return a vector a text, in order, normalised; of a text that is too long its beginning counts.

        Raises Unavailable when the endpoint is away, or still busy after its `Retry-After` was waited for, and
        EngineError for an answer that cannot be used.
        """
        prefix = self._endpoint.query_prefix if query else self._endpoint.document_prefix
        sent = [prefix + _sendable(text, self._endpoint.max_characters) for text in texts]
        vectors: list[list[float]] = []
        for start in range(0, len(sent), _TEXTS_A_REQUEST):
            vectors += await self._some(sent[start : start + _TEXTS_A_REQUEST])
        return vectors

    async def rest(self) -> None:
        """Do nothing: nothing is held here."""

    async def _some(self, texts: list[str]) -> list[list[float]]:
        """Embed texts; those that are too long together are sent apart, and one that is too long alone is cut."""
        reply = await self._ask(texts)
        if reply.status == 200:
            return self._vectors(reply, len(texts))
        said = _said(reply)
        if reply.status in _SIZE_STATUSES and _TOO_LONG.search(said):
            if len(texts) > 1:
                middle = len(texts) // 2
                return await self._some(texts[:middle]) + await self._some(texts[middle:])
            if len(texts[0]) > _SHORTEST_CHARACTERS:
                return await self._some([texts[0][: len(texts[0]) // 2]])
        raise self._refusal(reply.status, said)

    async def _ask(self, texts: list[str]) -> OutboundReply:
        endpoint = self._endpoint
        body: dict[str, Any] = {"model": endpoint.model, "input": texts, "encoding_format": "float"}
        if endpoint.shorten:
            body["dimensions"] = endpoint.dimensions
        headers = {"content-type": "application/json"}
        if endpoint.api_key:
            headers["authorization"] = f"Bearer {endpoint.api_key}"
        return await self._client.send(
            OutboundRequest(
                "POST",
                f"{endpoint.url.rstrip('/')}/embeddings",
                headers,
                orjson.dumps(body),
                idempotent=True,
                reach="private",
                max_body_bytes=len(texts) * max(endpoint.dimensions, _USUAL_DIMENSIONS) * _NUMBER_BYTES
                + _ENVELOPE_BYTES,
                # Some servers say so that a text is too long: the same again would not be shorter.
                final={500},
            )
        )

    def _vectors(self, reply: OutboundReply, count: int) -> list[list[float]]:
        try:
            data = orjson.loads(reply.body)["data"]
            found = {int(item["index"]): [float(number) for number in item["embedding"]] for item in data}
        except (ValueError, KeyError, TypeError) as error:
            raise self._error("did not answer with vectors.", "Check that the URL is that of an API.") from error
        if set(found) != set(range(count)):
            raise self._error(f"answered with {len(found)} vectors to {count} texts.", "Ask again.")
        return [self._normalised(found[number]) for number in range(count)]

    def _normalised(self, vector: list[float]) -> list[float]:
        if len(vector) != self._endpoint.dimensions:
            raise self._error(
                f"gives vectors of {len(vector)} numbers, not {self._endpoint.dimensions}.",
                f"Configure dimensions={len(vector)}.",
            )
        length = math.hypot(*vector)
        if not length or not math.isfinite(length):
            raise self._error("gave a vector without a direction.", "Check the model.")
        return [number / length for number in vector]

    def _refusal(self, status: int, said: str) -> EngineError | Unavailable:
        if status == 500:
            return Unavailable(f"The embedding endpoint {self._host} failed: {said}", "It is tried again later.")
        if status in (401, 403):
            return self._error(
                f"refused the key ({status}): {said}", "Name the variable that holds a valid one: key_env=NAME."
            )
        hint = (
            f"Check the model's name, {self._endpoint.model}, and the URL."
            if status == 404
            else "Mend the settings."
        )
        return self._error(f"answered {status}: {said}", hint)

    def _error(self, what: str, hint: str) -> EngineError:
        return EngineError(f"The embedding endpoint {self._host} {what}", hint, engine=self._host)


def _sendable(text: str, max_characters: int) -> str:
    """Return what a JSON string can hold, bounded; endpoints refuse an empty one."""
    return text[:max_characters].encode("utf-8", "replace").decode("utf-8").strip() or "-"


def _said(reply: OutboundReply) -> str:
    """Return what the endpoint says is wrong, bounded."""
    try:
        error = orjson.loads(reply.body)["error"]
        text = str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError):
        text = reply.body.decode("utf-8", "replace")
    return mask_text(text)[:300]
