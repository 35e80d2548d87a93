"""Say which models there are, how they are now, and what is left to spend."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.principals import Principal
from quantum_suite.services.llm.interface import Gateway
from quantum_suite.services.llm.ledger.interface import EVERYBODY
from quantum_suite.services.llm.standing import BudgetStanding, GatewayStanding, ProviderStanding


class _Listed(BaseModel):
    model_config = ConfigDict(frozen=True)


class ListedRoute(_Listed):
    """A name to ask for."""

    name: str = Field(description="Pass it as model.")
    models: tuple[str, ...] = Field(description="Who is asked, in this order (provider/model).")


class ListedModel(_Listed):
    """A model."""

    name: str = Field(description="provider/model; may be passed as model.")
    context_tokens: int | None = Field(
        description="What question and answer may take together, where it is known."
    )
    price: str = Field(description="Where its price comes from: free, configured, list; or unknown.")
    json_by: str = Field(description="How JSON is asked for: native (bound by the server) or instruction.")


class ListedProvider(_Listed):
    """A model server as it is now."""

    name: str = Field(description="Its name in providers.yaml.")
    kind: str = Field(description="The protocol it is spoken to in.")
    host: str = Field(description="Where it is.")
    state: Literal["ready", "resting", "open", "unusable"] = Field(
        description="ready; resting: it asked to be left alone; open: it failed several times in a row and is "
        "tried now and then; unusable: something is missing in its configuration."
    )
    why: str = Field(description="Why it is not ready; empty when it is.")
    in_flight: int = Field(description="Requests it is answering now, of this process.")
    models: tuple[ListedModel, ...] = Field(description="Its models.")


class ListedBudget(_Listed):
    """What binds you, and what is left of it."""

    of: Literal["you", "everybody"] = Field(description="Whose spending counts against it.")
    per: Literal["day", "month"] = Field(description="It begins anew with the next one (UTC).")
    usd: float | None = Field(description="Most US dollars; null where they are not bounded.")
    usd_left: float | None = Field(description="What is left of them, requests in flight counted at their most.")
    tokens: int | None = Field(description="Most tokens, sent and received; null where they are not bounded.")
    tokens_left: int | None = Field(description="What is left of them.")


class ModelList(_Listed):
    """Everything there is to ask."""

    configured: bool = Field(description="Whether there is any model.")
    how_to_configure: str = Field(description="What to do where there is none; else empty.")
    routes: tuple[ListedRoute, ...] = Field(description="Names to ask for; default is taken where none is given.")
    providers: tuple[ListedProvider, ...] = Field(description="Model servers.")
    budgets: tuple[ListedBudget, ...] = Field(description="What may be spent; empty where nothing bounds you.")


async def list_models(gateway: Gateway, principal: Principal) -> ModelList:
    """Return what there is for a principal. Asks no provider."""
    standing: GatewayStanding = await gateway.standing(principal.id)
    return ModelList(
        configured=standing.configured,
        how_to_configure=standing.how_to_configure,
        routes=tuple(ListedRoute(name=name, models=models) for name, models in standing.routes),
        providers=tuple(map(_provider, standing.providers)),
        budgets=tuple(map(_budget, standing.budgets)),
    )


def _provider(found: ProviderStanding) -> ListedProvider:
    return ListedProvider(
        name=found.name,
        kind=found.kind,
        host=found.host,
        state=found.state,
        why=found.why,
        in_flight=found.in_flight,
        models=tuple(
            ListedModel(
                name=model.name, context_tokens=model.context_tokens, price=model.price, json_by=model.structured
            )
            for model in found.models
        ),
    )


def _budget(found: BudgetStanding) -> ListedBudget:
    return ListedBudget(
        of="everybody" if found.scope == EVERYBODY else "you",
        per=found.per,
        usd=found.usd,
        usd_left=None if found.usd is None else max(0.0, found.usd - found.spent_usd),
        tokens=found.tokens,
        tokens_left=None if found.tokens is None else max(0, found.tokens - found.spent_tokens),
    )
