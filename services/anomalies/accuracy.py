"""How often the detectors are right, as measured and shipped."""

from importlib import resources

from pydantic import BaseModel, ConfigDict, Field


class Accuracy(BaseModel):
    """What was measured on NAB's files that nothing was tuned on. A perfect detector has 100, a silent one 0."""

    model_config = ConfigDict(frozen=True)

    benchmark: str = Field(description="What was measured on.")
    date: str = Field(description="When.")
    command: str = Field(description="What measures it again.")
    standard: float = Field(description="NAB's standard score on files not tuned on.")
    reward_low_fp_rate: float = Field(description="NAB's score where false alarms weigh double.")
    reward_low_fn_rate: float = Field(description="NAB's score where missed anomalies weigh double.")
    found_percent: float = Field(description="Anomalies found at sensitivity normal, of those labelled.")
    false_alarms_per_1000_points: float = Field(description="Alarms outside of labelled windows at normal.")

    def told(self) -> str:
        """Return it in a sentence."""
        return (
            f"Measured on files not tuned on ({self.benchmark}, {self.date}): {self.found_percent:.0f} % of "
            f"labelled anomalies found, {self.false_alarms_per_1000_points:.2g} false alarms a 1,000 points; "
            f"NAB score {self.standard:.0f} of 100."
        )


def published_accuracy() -> Accuracy:
    """Return what was measured last."""
    content = resources.files("quantum_suite.services.anomalies").joinpath("accuracy.json").read_text("utf-8")
    return Accuracy.model_validate_json(content)
