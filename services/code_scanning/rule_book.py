"""What the suite itself knows of rules: their CWE, severity, reasons, remedies, and measured accuracy."""

import json
import re
from functools import cached_property
from importlib.resources import files
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.findings import Confidence, Severity


class CodeRule(BaseModel):
    """A rule on source code."""

    model_config = ConfigDict(frozen=True)

    title: str = Field(description="What it looks for.")
    cwe: tuple[int, ...] = Field(description="CWE numbers, the closest first.")
    severity: Severity = Field(description="How bad it is if true.")
    confidence: Confidence = Field(description="How sure the rule can be.")
    why: str = Field(description="What could happen.")
    remediation: str = Field(description="What to do.")
    family: str | None = Field(default=None, description="Family shared with rules of other engines.")


class Accuracy(BaseModel):
    """How often a verdict was right on a labelled corpus."""

    model_config = ConfigDict(frozen=True)

    engine: str = Field(description="The engine measured.")
    cwe: int = Field(description="The weakness class measured.")
    true_positives: int = Field(description="Vulnerable cases flagged.")
    false_negatives: int = Field(description="Vulnerable cases missed.")
    false_positives: int = Field(description="Safe cases flagged.")
    true_negatives: int = Field(description="Safe cases left alone.")
    corpus: str = Field(description="What it was measured on.")
    measured_on: str = Field(description="The day of the measurement.")
    command: str = Field(description="The command that repeats it.")

    @property
    def precision(self) -> float | None:
        """Share of flagged cases that were vulnerable; None when nothing was flagged."""
        flagged = self.true_positives + self.false_positives
        return self.true_positives / flagged if flagged else None

    @property
    def recall(self) -> float:
        """Share of vulnerable cases that were flagged."""
        return self.true_positives / (self.true_positives + self.false_negatives)


class RuleBook:
    """Reads the data files beside this module when they are first needed."""

    @cached_property
    def python(self) -> dict[str, CodeRule]:
        """Ruff's S rules by code."""
        return {code: CodeRule.model_validate(rule) for code, rule in _read("ruff_security.json").items()}

    @cached_property
    def accuracy(self) -> tuple[Accuracy, ...]:
        """Everything that was measured."""
        data = _read("accuracy.json")
        source = {key: data[key] for key in ("corpus", "measured_on", "command")}
        return tuple(Accuracy.model_validate({**source, **row}) for row in data["results"])

    @cached_property
    def _misconfiguration_severity(self) -> dict[str, Severity]:
        rows = _read("misconfiguration.json")["severity_by_rule"]
        return {rule: Severity(severity) for rule, severity in rows.items()}

    @cached_property
    def _misconfiguration(self) -> list[tuple[re.Pattern[str], tuple[int, ...]]]:
        rows = _read("misconfiguration.json")["cwe_by_title"]
        return [(re.compile(row["pattern"], re.IGNORECASE), tuple(row["cwe"])) for row in rows]

    def cwe_of_misconfiguration(self, title: str) -> tuple[int, ...]:
        """Return the CWE a check's title points to, empty when none does: its engine assigns none."""
        return next((cwe for pattern, cwe in self._misconfiguration if pattern.search(title)), ())

    def severity_of_misconfiguration(self, rule_id: str) -> Severity | None:
        """Return the suite's own severity for a check whose engine overrates it; None for all others."""
        return self._misconfiguration_severity.get(rule_id)

    def accuracy_of(self, engine: str, cwe: tuple[int, ...]) -> Accuracy | None:
        """Return what was measured of an engine's verdicts on the first of these CWEs that was measured."""
        for number in cwe:
            for row in self.accuracy:
                if row.engine == engine and row.cwe == number:
                    return row
        return None


def _read(name: str) -> dict[str, Any]:
    text = files("quantum_suite.services.code_scanning").joinpath("rules", name).read_text("utf-8")
    data: dict[str, Any] = json.loads(text)
    return data
