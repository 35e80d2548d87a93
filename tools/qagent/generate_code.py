"""Has the configured model write a change, judged as any other; without one the assistant is the author."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.principals import Principal
from quantum_suite.core.verdicts import Author
from quantum_suite.tools.qagent.ask_model import FIRST_TEMPERATURE, ModelAuthor
from quantum_suite.tools.qagent.change_answers import ChangeAnswer
from quantum_suite.tools.qagent.judge_change import ChangeDesk
from quantum_suite.tools.qagent.plan_change import ContextPack, Plan, Planner
from quantum_suite.tools.qagent.read_answer import patch_in
from quantum_suite.tools.qagent.workshop import Progress

YOU_ARE_THE_AUTHOR = (
    "No model is configured, so you are the author: read the context, write the change as a unified diff or as "
    "search and replace blocks, and pass it to submit_change."
)


class GeneratedCode(BaseModel):
    """A change a model wrote with its verdict, or what you need to write it."""

    model_config = ConfigDict(frozen=True)

    author: Author = Field(description="assistant: you are to write it. model: it is written and judged.")
    message: str = Field(description="Which way was taken, and what to do now.")
    plan: ContextPack = Field(description="What is known about the goal.")
    change: ChangeAnswer | None = Field(default=None, description="The verdict on what the model wrote.")
    tokens: int = Field(default=0, description="Tokens the model took.")
    prompt: str | None = Field(default=None, description="The prompt template and its version.")


@dataclass(frozen=True, slots=True)
class CodeGenerator:
    """Writes changes through the model."""

    planner: Planner
    author: ModelAuthor
    desk: ChangeDesk

    async def generate(
        self, root: Path, goal: str, token_budget: int, principal: Principal, progress: Progress
    ) -> GeneratedCode:
        """Plan, write, judge. Raises as the gateway and the judge do; a bad change is a verdict."""
        plan = await self.planner.plan(root, goal, token_budget, principal, progress)
        if not self.author.configured:
            return GeneratedCode(author="assistant", message=YOU_ARE_THE_AUTHOR, plan=plan.pack)
        written = await self.author.ask(
            "generate_change",
            prompt_values(goal, plan),
            principal,
            purpose="qagent.generate_code",
            temperature=FIRST_TEMPERATURE,
        )
        judged = await self.desk.submit(
            root,
            patch_in(written.text, root, plan.files),
            principal,
            progress,
            author="model",
            model=written.model,
            summary=goal,
        )
        accepted = judged.answer.accepted
        return GeneratedCode(
            author="model",
            message=f"{written.model} wrote the change; it was {'accepted' if accepted else 'refused'}. "
            + ("Read the diff before you apply it." if accepted else "Mend it yourself, or have it improved."),
            plan=plan.pack,
            change=judged.answer,
            tokens=written.tokens,
            prompt=written.prompt,
        )


def prompt_values(goal: str, plan: Plan) -> dict[str, object]:
    """Return what the template for writing a change is filled in with."""
    return {
        "goal": goal,
        "rules": plan.rules,
        "checks": list(plan.pack.acceptance_checks),
        "context": plan.context,
    }
