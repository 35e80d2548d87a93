"""The page on language models: its files are read, and every key there is has its row."""

import re
from pathlib import Path

import pytest
from docs.pages import ROOT

from quantum_suite.core.llm_events import LLM_EVENTS
from quantum_suite.services.llm.configuration import (
    BudgetOptions,
    MaskingOptions,
    ModelOptions,
    ModelsConfig,
    ProviderOptions,
)
from quantum_suite.services.llm.loading import load_models

PAGE = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
FILES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
KEYS = [
    (model, name)
    for model in (ModelsConfig, ProviderOptions, ModelOptions, BudgetOptions, MaskingOptions)
    for name in model.model_fields
]


@pytest.mark.parametrize("text", FILES)
def test_the_files_that_are_shown_are_read(text: str, tmp_path: Path) -> None:
    file = tmp_path / "providers.yaml"
    file.write_text(text)
    assert load_models(file).providers


@pytest.mark.parametrize(("model", "name"), KEYS)
def test_every_key_has_a_row_with_its_default(model: type[ModelsConfig], name: str) -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |")]
    assert rows
    default = model.model_fields[name].default
    if isinstance(default, bool | int | float | str) and default != "":
        shown = f"{default:g}" if isinstance(default, float) else str(default).lower()
        assert any(f"| `{shown}` |" in row for row in rows), (rows, shown)


@pytest.mark.parametrize("data", LLM_EVENTS)
def test_every_event_of_a_call_is_named(data: type) -> None:
    assert f"`{data.event_type}`" in PAGE  # type: ignore[attr-defined]  # of events
