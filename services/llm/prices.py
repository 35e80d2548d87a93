"""What tokens cost: the operator's own figures, else the price list that the wheel of genai-prices holds."""

import importlib
from contextlib import suppress
from typing import Literal
from urllib.parse import urlsplit

import anyio.to_thread

from quantum_suite.core.errors import EngineMissing
from quantum_suite.services.llm.configuration import Price, ProviderOptions
from quantum_suite.services.llm.interface import Usage

NANO = 1_000_000_000
"""US dollars are counted in whole billionths: a token of a small model costs less than a millionth."""


class PriceList:
    """Says what usage costs, in billionths of a US dollar. The list is loaded on first need."""

    def __init__(self) -> None:
        self._loaded = False

    async def ready(self, options: ProviderOptions, model: str) -> None:
        """Load the list where a price is not known without it: that takes half a second, and others go on."""
        known = _configured(options, model)
        if not self._loaded and known is None and not options.local:
            await anyio.to_thread.run_sync(_load)
            self._loaded = True

    def cost(self, options: ProviderOptions, model: str, usage: Usage) -> int | None:
        """Return the cost; None where no price is known."""
        known = _configured(options, model)
        if isinstance(known, Price):
            dollars = (
                usage.input_tokens * known.input_usd_per_million
                + usage.output_tokens * known.output_usd_per_million
            ) / 1e6
            return round(dollars * NANO)
        if known == "free" or options.local:
            return 0
        try:
            return self._listed(options, model, usage)
        except EngineMissing:
            return None

    def source(self, options: ProviderOptions, model: str) -> str:
        """Say where the price comes from, for a person."""
        known = _configured(options, model)
        if isinstance(known, Price):
            return "configured"
        if known == "free" or options.local:
            return "free"
        try:
            return "unknown" if self._listed(options, model, Usage(1, 1, estimated=True)) is None else "list"
        except EngineMissing as error:
            return f"unknown: {error.hint}"

    def _listed(self, options: ProviderOptions, model: str, usage: Usage) -> int | None:
        try:
            # Slow to import, and of no use to who configures no priced provider.
            import genai_prices
        except ImportError as error:
            raise EngineMissing(
                "The price list is not installed.", 'pip install "quantum-suite[llm]"', engine="genai-prices"
            ) from error
        tokens = genai_prices.Usage(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cached_input_tokens or None,
        )
        try:
            if options.kind in ("openai", "azure", "anthropic"):
                found = genai_prices.calc_price(tokens, model, provider_id=options.kind)
            else:
                found = genai_prices.calc_price(tokens, model, provider_api_url=_origin(options.url))
        except (LookupError, ValueError):
            return None
        return round(found.total_price * NANO)


def _configured(options: ProviderOptions, model: str) -> Price | Literal["free"] | None:
    known = options.models.get(model)
    return None if known is None else known.price


def _load() -> None:
    with suppress(ImportError):
        importlib.import_module("genai_prices")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"
