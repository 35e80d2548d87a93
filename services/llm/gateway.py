"""Every model behind one door. What each step does lies in a file of its own; their order is here."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio

from quantum_suite.core.errors import EngineError, RateLimited, Refused, Unavailable
from quantum_suite.services.events.interface import Appender
from quantum_suite.services.llm.answer_cache import AnswerCache, may_be_kept
from quantum_suite.services.llm.attempt import Attempt, Books, DeadlinePassed
from quantum_suite.services.llm.audit import Audited, audited
from quantum_suite.services.llm.call import IN_A_THREAD, Call, begin
from quantum_suite.services.llm.configuration import ModelsConfig
from quantum_suite.services.llm.digests import answer_digest
from quantum_suite.services.llm.errors import ContextOverflow, ProviderError, Rejected
from quantum_suite.services.llm.interface import (
    Finished,
    FinishReason,
    ModelAnswer,
    ModelEvent,
    ModelRequest,
    Provider,
    TextDelta,
    ToolCall,
    ToolCallRequested,
    Usage,
)
from quantum_suite.services.llm.json_repair import CUT
from quantum_suite.services.llm.ledger.interface import EVERYBODY, NANO, Budget, Ledger, Period, Used
from quantum_suite.services.llm.plan import Plan, Prospect
from quantum_suite.services.llm.prices import PriceList
from quantum_suite.services.llm.provider_gate import Closed, ProviderGate
from quantum_suite.services.llm.routing import candidates
from quantum_suite.services.llm.schema_output import AcceptedJson, AnswerSchema, NotAccepted, asked_again
from quantum_suite.services.llm.standing import GatewayStanding
from quantum_suite.services.llm.surveying import standing_of
from quantum_suite.services.llm.tokens import estimated_input, upper_input

_OTHERS_SECONDS = 5.0
"""How long a provider's places and rates are waited for while others are left to ask."""


class ModelGateway:
    """Asks the models of a configuration. Made by `open_gateway`."""

    configured = True

    def __init__(
        self,
        config: ModelsConfig,
        providers: Mapping[str, Provider],
        gates: Mapping[str, ProviderGate],
        ledger: Ledger,
        *,
        cache: AnswerCache | None = None,
        events: Appender | None = None,
        prices: PriceList | None = None,
    ) -> None:
        self.config = config
        self.gates = gates
        self.ledger = ledger
        self.prices = prices or PriceList()
        self._providers = providers
        self._cache = cache
        self._events = events

    async def ask(self, request: ModelRequest, principal: str) -> ModelAnswer:
        """Return a whole answer; see the port."""
        schema = None if request.output_schema is None else AnswerSchema(request.output_schema)
        plan_of = candidates(self.config, request.model)
        call = await begin(request, principal, self.config.masking)
        async with audited(call, self._events) as watched:
            if schema is not None:
                return await self._by_schema(call, schema, watched)
            text, calls, finished = await self._whole(call, call.masked, Plan(plan_of), schema)
            watched.answered(finished, answer_digest(text, calls))
            return _answer(call, call.masking.restore(text), calls, finished)

    async def standing(self, principal: str) -> GatewayStanding:
        """Return how everything stands; see the port."""
        return await standing_of(self.config, self.gates, self.prices, self.ledger, self._budgets(principal))

    async def used(self, per: Period, principal: str | None = None) -> list[Used]:
        """Return what was used; see the port."""
        return await self.ledger.used(per, principal)

    def stream(
        self, request: ModelRequest, principal: str
    ) -> AbstractAsyncContextManager[AsyncIterator[ModelEvent]]:
        """Return an answer piece by piece; see the port. One that a schema has to accept comes in one piece."""
        return self._stream(request, principal)

    @asynccontextmanager
    async def _stream(self, request: ModelRequest, principal: str) -> AsyncIterator[AsyncIterator[ModelEvent]]:
        if request.output_schema is not None:
            answer = await self.ask(request, principal)
            async with aclosing(_replayed(answer)) as events:
                yield events
            return
        plan = Plan(candidates(self.config, request.model))
        call = await begin(request, principal, self.config.masking)
        async with (
            audited(call, self._events) as watched,
            aclosing(self._restored(call, plan, watched)) as events,
        ):
            yield events

    async def _restored(self, call: Call, plan: Plan, watched: Audited) -> AsyncGenerator[ModelEvent, None]:
        """Yield a streamed answer with the masked values put back, wherever the pieces were cut."""
        restorer = call.masking.streamed()
        parts: list[str] = []
        calls: list[ToolCall] = []
        async with aclosing(self._pieces(call, call.masked, plan, None, whole=False)) as pieces:
            async for piece in pieces:
                if isinstance(piece, TextDelta):
                    parts.append(piece.text)
                    if shown := restorer.feed(piece.text):
                        yield TextDelta(shown)
                    continue
                if held := restorer.end():
                    yield TextDelta(held)
                if isinstance(piece, ToolCallRequested):
                    calls.append(piece.call)
                    arguments = call.masking.restore_value(piece.call.arguments)
                    yield ToolCallRequested(replace(piece.call, arguments=arguments))
                else:
                    watched.answered(piece, answer_digest("".join(parts), calls))
                    yield _over_all(call, piece)

    async def _by_schema(self, call: Call, schema: AnswerSchema, watched: Audited) -> ModelAnswer:
        """Ask until the schema accepts an answer, a few times at most."""
        restore = call.masking.restore_value
        if (kept := await self._kept(call, schema)) is not None:
            return _from_cache(call, watched, *kept)
        request = call.masked
        for round_number in range(1, self.config.schema_rounds + 1):
            plan = Plan(candidates(self.config, call.request.model))
            text, calls, finished = await self._whole(call, request, plan, schema)
            try:
                accepted = await _accepted(schema, text, finished.reason, restore)
            except NotAccepted as error:
                # A model that calls a tool has not answered yet: its caller goes on.
                if calls:
                    watched.answered(finished, answer_digest(text, calls))
                    return _answer(call, text, calls, finished)
                problem = call.masking.mask(str(error))
                call.note(f"{finished.provider}/{finished.model}: round {round_number}: {problem}")
                request = asked_again(call.masked, text, problem)
                continue
            if self._cache is not None and may_be_kept(call.request) and CUT not in accepted.repairs:
                await self._cache.keep(self._names(call), call.principal, text)
            watched.answered(finished, answer_digest(text, calls))
            answer = _answer(call, _dumped(accepted.data), calls, finished)
            return replace(answer, data=accepted.data, repairs=accepted.repairs)
        raise EngineError(
            f"No answer fits the schema after {self.config.schema_rounds} rounds.",
            "Ask for less at once, or use a model that is bound to schemas.",
            engine=call.asked[-1],
            printed="\n".join(call.tried)[-2000:],
        )

    async def _kept(self, call: Call, schema: AnswerSchema) -> tuple[str, AcceptedJson] | None:
        """Return an answer that was accepted before, if the schema accepts it with this call's values, too."""
        if self._cache is None or not may_be_kept(call.request):
            return None
        text = await self._cache.get(self._names(call), call.principal)
        if text is None:
            return None
        try:
            return text, await _accepted(schema, text, "stop", call.masking.restore_value)
        except NotAccepted:
            return None

    def _names(self, call: Call) -> str:
        """Return what an answer is kept under: the request, and the models that stand behind its route now."""
        return ":".join((call.digest, *(one.name for one in candidates(self.config, call.request.model))))

    async def _whole(
        self, call: Call, request: ModelRequest, plan: Plan, schema: AnswerSchema | None
    ) -> tuple[str, list[ToolCall], Finished]:
        """Return an answer once all of it is there: one that was cut may then be asked for elsewhere."""
        parts: list[str] = []
        calls: list[ToolCall] = []
        async with aclosing(self._pieces(call, request, plan, schema, whole=True)) as pieces:
            async for piece in pieces:
                if isinstance(piece, TextDelta):
                    parts.append(piece.text)
                elif isinstance(piece, ToolCallRequested):
                    calls.append(piece.call)
                else:
                    return "".join(parts), calls, piece
        raise EngineError("The answer has no end.", engine=call.asked[-1])

    async def _pieces(
        self, call: Call, request: ModelRequest, plan: Plan, schema: AnswerSchema | None, *, whole: bool
    ) -> AsyncGenerator[ModelEvent, None]:
        """Yield the first answer anybody gives, by the plan; `whole`: nothing of it before all of it is there."""
        while (chosen := plan.next(anyio.current_time())) is not None:
            prospect, wait = chosen
            if wait >= call.remaining:
                break
            await anyio.sleep(wait)
            handed_out = False
            gathered: list[ModelEvent] = []
            try:
                async with aclosing(self._once(call, request, prospect, plan, schema)) as events:
                    async for event in events:
                        if whole:
                            gathered.append(event)
                            continue
                        handed_out = True
                        yield event
                for event in gathered:
                    yield event
                return
            except Closed as closed:
                call.note(f"{prospect.candidate.name}: {closed}")
                prospect.left = 0 if closed.again_seconds is None else prospect.left
                prospect.not_before = anyio.current_time() + (closed.again_seconds or 0.0)
                plan.note(Unavailable(str(closed)))
            except (Refused, ProviderError) as error:
                if handed_out:
                    # What somebody has read is not sewn together with another model's words.
                    raise
                self._note(call, plan, prospect, error)
                if isinstance(error, DeadlinePassed):
                    break
        raise plan.verdict(call.tried)

    async def _once(
        self, call: Call, request: ModelRequest, prospect: Prospect, plan: Plan, schema: AnswerSchema | None
    ) -> AsyncGenerator[ModelEvent, None]:
        """Yield one provider's answer. Raises Closed, Refused and the tree of ProviderError."""
        candidate = prospect.candidate
        gate = self.gates[candidate.provider]
        shaped = request
        if schema is not None and not (prospect.native_schema and not request.tools):
            shaped = schema.by_instruction(request)
        limit = candidate.of_model.context_tokens
        needed = estimated_input(shaped) + shaped.max_output_tokens
        if limit is not None and needed > limit:
            raise ContextOverflow(
                f"Question and answer would take about {needed} tokens, more than the {limit} of {candidate.name}",
                "Send less, or ask for a shorter answer.",
                engine=candidate.name,
            )
        gate.check()
        others = sum(one.left > 0 for one in plan.prospects) > 1
        patience = min(_OTHERS_SECONDS, call.remaining) if others else call.remaining
        books = Books(self.ledger, self.prices, self._budgets(call.principal))
        most = Usage(upper_input(shaped), shaped.max_output_tokens, estimated=True)
        attempt = Attempt(call, candidate, shaped, self._providers[candidate.provider], books, most)
        async with gate.place(patience):
            # While it waited for its place, others may have found out how the provider is.
            gate.admit()
            await gate.take_rates(most.input_tokens + most.output_tokens, patience)
            try:
                async with aclosing(attempt.events()) as events:
                    async for event in events:
                        if isinstance(event, Finished):
                            gate.answered()
                        yield event
            except DeadlinePassed:
                # The caller's haste says little of the provider; its silence is known by its own bound.
                raise
            except ProviderError as error:
                gate.failed(error)
                raise

    def _note(self, call: Call, plan: Plan, prospect: Prospect, error: Refused | ProviderError) -> None:
        """Remember a failure, and when this candidate may be asked again."""
        now = anyio.current_time()
        engine = prospect.candidate.name
        call.note(error.message if error.message.startswith(engine) else f"{engine}: {error.message}")
        if isinstance(error, ProviderError):
            prospect.failed(error, now)
            if type(error) is Rejected and prospect.native_schema and call.request.output_schema is not None:
                # It may be the schema it does not take: put into words, any server takes it.
                prospect.native_schema, prospect.left, prospect.not_before = False, 1, now
                return
        elif isinstance(error, RateLimited):
            prospect.not_before = now + error.retry_after_seconds
        else:
            prospect.left = 0
        plan.note(error)

    def _budgets(self, principal: str) -> list[Budget]:
        found = []
        for budget in self.config.budgets:
            if budget.principal not in ("each", "all", principal):
                continue
            scope = EVERYBODY if budget.principal == "all" else principal
            dollars = None if budget.usd is None else round(budget.usd * NANO)
            found.append(Budget(scope, budget.per, dollars, budget.tokens))
        return found


def _over_all(call: Call, finished: Finished) -> Finished:
    """Return the end of an answer with what the whole call took, the attempts in vain included."""
    return replace(finished, usage=call.usage(), attempts=tuple(call.tried))


def _answer(call: Call, restored_text: str, calls: list[ToolCall], finished: Finished) -> ModelAnswer:
    restored = tuple(replace(one, arguments=call.masking.restore_value(one.arguments)) for one in calls)
    return ModelAnswer(restored_text, _over_all(call, finished), restored)


def _from_cache(call: Call, watched: Audited, kept: str, accepted: AcceptedJson) -> ModelAnswer:
    usage = Usage(0, 0, estimated=False, cost_usd=0.0)
    finished = Finished("stop", usage, "cache", call.request.model, cached=True)
    watched.answered(finished, answer_digest(kept, ()))
    return ModelAnswer(_dumped(accepted.data), finished, (), accepted.data, accepted.repairs)


async def _accepted(
    schema: AnswerSchema, text: str, reason: FinishReason, restore: Callable[[Any], Any]
) -> AcceptedJson:
    """Return the JSON of an answer. Raises NotAccepted. A long one is read in a thread, beside other calls."""
    if len(text) > IN_A_THREAD:
        return await anyio.to_thread.run_sync(schema.accept, text, reason, restore)
    return schema.accept(text, reason, restore)


def _dumped(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False)


async def _replayed(answer: ModelAnswer) -> AsyncGenerator[ModelEvent, None]:
    if answer.text:
        yield TextDelta(answer.text)
    for call in answer.tool_calls:
        yield ToolCallRequested(call)
    yield answer.finished
