"""Asks the configured model for changes and reviews, with the shipped prompts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quantum_suite.core.principals import Principal
from quantum_suite.services.llm.interface import Gateway, Message, ModelRequest
from quantum_suite.services.prompts.interface import PromptLibrary

SECONDS = 300.0
FIRST_TEMPERATURE = 0.0
"""Of a first try: the likeliest code is the best guess. Servers' own defaults are meant for talk."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a model wrote."""

    text: str
    model: str
    """Provider and model, as the ledger names them."""
    tokens: int
    prompt: str
    """The template and its version."""
    data: Any = None


@dataclass(frozen=True, slots=True)
class ModelAuthor:
    """The configured model as an author. Without one, `configured` is false and nothing is asked."""

    gateway: Gateway | None
    prompts: PromptLibrary

    @property
    def configured(self) -> bool:
        """Return whether there is a model to ask."""
        return self.gateway is not None and self.gateway.configured

    async def ask(
        self,
        prompt: str,
        values: Mapping[str, Any],
        principal: Principal,
        *,
        purpose: str,
        max_output_tokens: int = 4096,
        schema: dict[str, Any] | None = None,
        temperature: float | None = None,
    ) -> Written:
        """Fill a template in and ask. Raises as the gateway does."""
        if self.gateway is None:
            raise RuntimeError("There is no model to ask; look at `configured` first.")
        rendered = self.prompts.render(prompt, values)
        answer = await self.gateway.ask(
            ModelRequest(
                messages=(Message("user", rendered.text),),
                max_output_tokens=max_output_tokens,
                temperature=temperature,
                output_schema=schema,
                deadline_seconds=SECONDS,
                purpose=purpose,
            ),
            principal.id,
        )
        usage = answer.finished.usage
        return Written(
            text=answer.text,
            model=f"{answer.finished.provider}/{answer.finished.model}",
            tokens=usage.input_tokens + usage.output_tokens,
            prompt=rendered.source,
            data=answer.data,
        )
