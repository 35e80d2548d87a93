"""Puts together how models and providers stand now."""

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from quantum_suite.services.llm.configuration import ModelsConfig, ProviderOptions
from quantum_suite.services.llm.ledger.interface import NANO, Budget, Ledger
from quantum_suite.services.llm.prices import PriceList
from quantum_suite.services.llm.provider_gate import ProviderGate
from quantum_suite.services.llm.routing import routes
from quantum_suite.services.llm.standing import BudgetStanding, GatewayStanding, ModelStanding, ProviderStanding


async def standing_of(
    config: ModelsConfig,
    gates: Mapping[str, ProviderGate],
    prices: PriceList,
    ledger: Ledger,
    budgets: Sequence[Budget],
) -> GatewayStanding:
    """Return how everything stands; no provider is asked, and no key is in it."""
    for options in config.providers.values():
        for model in options.models:
            await prices.ready(options, model)
    return GatewayStanding(
        configured=True,
        how_to_configure="",
        providers=tuple(_provider(gates[name], one, prices) for name, one in config.providers.items()),
        routes=tuple(routes(config).items()),
        budgets=tuple([await _budget(budget, ledger) for budget in budgets]),
    )


def _provider(gate: ProviderGate, options: ProviderOptions, prices: PriceList) -> ProviderStanding:
    return ProviderStanding(
        name=gate.name,
        kind=options.kind,
        host=urlsplit(options.url).netloc,
        state=gate.state,
        why=gate.why,
        in_flight=gate.in_flight,
        failures=gate.breaker.failures,
        models=tuple(
            ModelStanding(
                f"{gate.name}/{model}",
                known.context_tokens,
                prices.source(options, model),
                known.structured or options.structured,
            )
            for model, known in options.models.items()
        ),
    )


async def _budget(budget: Budget, ledger: Ledger) -> BudgetStanding:
    day, month = await ledger.spent(budget.scope)
    spent = day if budget.per == "day" else month
    return BudgetStanding(
        budget.scope,
        budget.per,
        None if budget.nano_usd is None else budget.nano_usd / NANO,
        budget.tokens,
        spent.nano_usd / NANO,
        spent.tokens,
    )
