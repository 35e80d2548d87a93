"""One request sent to one model: reserved before, settled after, whatever happens in between."""

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import anyio

from quantum_suite.core.errors import SuiteError
from quantum_suite.services.llm.call import Call
from quantum_suite.services.llm.errors import Garbled, ProviderError, Silent
from quantum_suite.services.llm.interface import (
    Finished,
    ModelEvent,
    ModelRequest,
    Provider,
    TextDelta,
    ToolCallRequested,
    Usage,
)
from quantum_suite.services.llm.ledger.interface import Budget, Ledger, Outcome, Reservation
from quantum_suite.services.llm.prices import PriceList
from quantum_suite.services.llm.routing import Candidate
from quantum_suite.services.llm.tokens import call_text, estimate, estimated_input, texts_of

logger = logging.getLogger(__name__)

MAX_ANSWER_CHARACTERS = 16 * 1024 * 1024

_SETTLE_SECONDS = 10.0
_COUNT_SECONDS = 5.0
_AFTER_DEADLINE = timedelta(seconds=60)


class DeadlinePassed(Silent):
    """The call's own time is over: nobody else is asked either."""


@dataclass(frozen=True, slots=True)
class Books:
    """Where attempts are charged."""

    ledger: Ledger
    prices: PriceList
    budgets: Sequence[Budget]
    """Those that apply to the call."""


class Attempt:
    """Asks a provider once, for `most` at the most. Use its `events` once, and close them."""

    def __init__(
        self,
        call: Call,
        candidate: Candidate,
        request: ModelRequest,
        provider: Provider,
        books: Books,
        most: Usage,
    ) -> None:
        self._most = most
        self._call = call
        self._candidate = candidate
        self._request = request
        self._provider = provider
        self._books = books
        self._number = call.attempts + 1
        self._received: list[str] = []
        self._characters = 0
        self._state: Literal["answered", "cut", "failed"] = "failed"
        self._usage = Usage(0, 0, estimated=True)

    async def events(self) -> AsyncGenerator[ModelEvent, None]:
        """Yield the answer; the call is told what it took. Raises Refused where a budget does not cover it, and
        the tree of ProviderError."""
        await self._reserve()
        self._call.attempts = self._number
        self._call.asked.append(self._candidate.name)
        settled = False
        # Once it is sent, the question is read, which is billed even if nobody waits for the answer.
        self._state = "cut"
        try:
            async with AsyncExitStack() as stack:
                with anyio.fail_after(self._call.remaining):
                    manager = self._provider.stream(self._request, self._candidate.model, self._call.ends_at)
                    arriving = await stack.enter_async_context(manager)
                async for event in arriving:
                    if isinstance(event, Finished):
                        self._usage = await self._counted(event.usage)
                        self._state = "answered"
                        await self._settle()
                        settled = True
                        yield event
                        return
                    self._note(event)
                    yield event
        except ProviderError as error:
            if not self._call.remaining:
                raise self._deadline_passed() from error
            if not error.answered_anything and not self._received and not isinstance(error, Silent):
                self._state = "failed"
            raise
        except TimeoutError:
            raise self._deadline_passed() from None
        finally:
            if not settled:
                await self._settle_what_came()

    def _deadline_passed(self) -> DeadlinePassed:
        return DeadlinePassed(
            f"{self._candidate.name} did not answer within the call's deadline.",
            engine=self._candidate.name,
            answered_anything=bool(self._received),
        )

    async def _reserve(self) -> None:
        candidate, call, most = self._candidate, self._call, self._most
        tokens = most.input_tokens + most.output_tokens
        await self._books.prices.ready(candidate.options, candidate.model)
        cost = self._books.prices.cost(candidate.options, candidate.model, most)
        call.check_budget(candidate.name, tokens, cost)
        now = datetime.now(UTC)
        await self._books.ledger.reserve(
            Reservation(
                call.principal,
                call.id,
                self._number,
                call.digest,
                candidate.provider,
                candidate.model,
                call.request.purpose,
                tokens,
                cost,
                now + timedelta(seconds=call.remaining) + _AFTER_DEADLINE,
            ),
            self._books.budgets,
        )

    def _note(self, event: TextDelta | ToolCallRequested) -> None:
        self._received.append(event.text if isinstance(event, TextDelta) else call_text(event.call))
        self._characters += len(self._received[-1])
        if self._characters > MAX_ANSWER_CHARACTERS:
            raise Garbled(
                f"{self._candidate.name} sent more than {MAX_ANSWER_CHARACTERS} characters.",
                engine=self._candidate.name,
                answered_anything=True,
            )

    async def _counted(self, told: Usage) -> Usage:
        """Return the provider's own counts, else the server's count of the texts, else an estimate."""
        if not told.estimated:
            return told
        answer = "".join(self._received)
        model = self._candidate.model
        answered = asked = None
        with anyio.move_on_after(_COUNT_SECONDS):
            answered = await self._provider.count_tokens(answer, model) if answer else 0
            asked = await self._provider.count_tokens("\n".join(texts_of(self._request)), model)
        return Usage(
            estimated_input(self._request) if asked is None else asked,
            estimate(answer) if answered is None else answered,
            estimated=True,
        )

    async def _settle_what_came(self) -> None:
        if self._state == "cut":
            received = estimate("".join(self._received))
            self._usage = Usage(estimated_input(self._request), received, estimated=True)
        await self._settle()

    async def _settle(self) -> None:
        """Write down what it took. An answer is not lost because the ledger is: the reservation stands then."""
        cost = self._books.prices.cost(self._candidate.options, self._candidate.model, self._usage)
        self._call.took(self._usage, cost)
        outcome = Outcome(
            self._state, self._usage.input_tokens, self._usage.output_tokens, cost, self._usage.estimated
        )
        with anyio.move_on_after(_SETTLE_SECONDS, shield=True):
            try:
                await self._books.ledger.settle(self._call.principal, self._call.id, self._number, outcome)
            except SuiteError as error:
                logger.error(
                    "Attempt %d of call %s stays charged as estimated: %s", self._number, self._call.id, error
                )
