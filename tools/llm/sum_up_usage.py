"""What models were used for, and what it cost."""

from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.errors import Refused
from quantum_suite.core.principals import Principal, Role
from quantum_suite.services.llm.interface import Gateway
from quantum_suite.services.llm.ledger.interface import NANO, Period, Used
from quantum_suite.tools.llm.list_models import ListedBudget, list_models

MOST_SHOWN = 50


class UsedModel(BaseModel):
    """What one principal used of one model for one purpose."""

    model_config = ConfigDict(frozen=True)

    principal: str = Field(description="Who asked.")
    model: str = Field(description="provider/model.")
    purpose: str = Field(description="What it was for, as who asked named it; may be empty.")
    attempts: int = Field(description="Requests sent.")
    answered: int = Field(description="Those that were answered whole.")
    cut: int = Field(description="Those that were given up or broke after they were sent: charged as estimated.")
    failed: int = Field(description="Those that nothing came of: not charged.")
    input_tokens: int = Field(description="Tokens sent.")
    output_tokens: int = Field(description="Tokens received, and what requests in flight hold back.")
    cost_usd: float = Field(description="US dollars, where a price is known.")
    unpriced: int = Field(description="Charged requests whose price nobody knows: not in cost_usd.")
    estimated: int = Field(description="Requests whose tokens are estimates.")


class ModelUsage(BaseModel):
    """What was used in a period."""

    model_config = ConfigDict(frozen=True)

    period: Period = Field(description="day: since midnight UTC; month: since the first.")
    everybody: bool = Field(description="Whether all principals are counted, or you alone.")
    attempts: int = Field(description="Requests sent, all together.")
    input_tokens: int = Field(description="Tokens sent, all together.")
    output_tokens: int = Field(description="Tokens received, all together.")
    cost_usd: float = Field(description="US dollars, all together, where a price is known.")
    unpriced: int = Field(description="Charged requests whose price nobody knows.")
    rows: tuple[UsedModel, ...] = Field(description="By principal, model and purpose, the most tokens first.")
    rows_left_out: int = Field(description="Further rows, in the report.")
    budgets: tuple[ListedBudget, ...] = Field(description="What binds you, and what is left of it.")


async def sum_up_usage(
    gateway: Gateway, principal: Principal, period: Period, *, everybody: bool, most: int = MOST_SHOWN
) -> ModelUsage:
    """Return what a principal used, or everybody: Refused unless an administrator asks."""
    if everybody and Role.ADMIN not in principal.roles:
        raise Refused("What everybody used is for administrators.", "Leave everybody out to see your own.")
    used = await gateway.used(period, None if everybody else principal.id)
    return ModelUsage(
        period=period,
        everybody=everybody,
        attempts=sum(one.attempts for one in used),
        input_tokens=sum(one.input_tokens for one in used),
        output_tokens=sum(one.output_tokens for one in used),
        cost_usd=sum(one.nano_usd for one in used) / NANO,
        unpriced=sum(one.unpriced for one in used),
        rows=tuple(map(_row, used[:most])),
        rows_left_out=max(0, len(used) - most),
        budgets=(await list_models(gateway, principal)).budgets,
    )


def _row(one: Used) -> UsedModel:
    return UsedModel(
        principal=one.principal,
        model=f"{one.provider}/{one.model}",
        purpose=one.purpose,
        attempts=one.attempts,
        answered=one.answered,
        cut=one.cut,
        failed=one.failed,
        input_tokens=one.input_tokens,
        output_tokens=one.output_tokens,
        cost_usd=one.nano_usd / NANO,
        unpriced=one.unpriced,
        estimated=one.estimated,
    )
