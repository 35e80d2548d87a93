"""Which models are asked for a request, and in which order."""

from collections.abc import Mapping
from dataclasses import dataclass

from quantum_suite.core.errors import NotFound
from quantum_suite.services.llm.configuration import ModelOptions, ModelsConfig, ProviderOptions

DEFAULT_ROUTE = "default"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One model that may answer."""

    provider: str
    model: str
    options: ProviderOptions

    @property
    def name(self) -> str:
        """`provider/model`."""
        return f"{self.provider}/{self.model}"

    @property
    def of_model(self) -> ModelOptions:
        """What is known of the model."""
        return self.options.models[self.model]

    @property
    def native_schema(self) -> bool:
        """Whether JSON is asked for by the provider's own means."""
        return (self.of_model.structured or self.options.structured) == "native"


def routes(config: ModelsConfig) -> Mapping[str, tuple[str, ...]]:
    """Return every route; `default` is the first model of the file where none is written."""
    written = {name: tuple(targets) for name, targets in config.routes.items()}
    if DEFAULT_ROUTE not in written:
        provider, options = next(iter(config.providers.items()))
        written[DEFAULT_ROUTE] = (f"{provider}/{next(iter(options.models))}",)
    return written


def candidates(config: ModelsConfig, wanted: str) -> list[Candidate]:
    """Return the models behind a route's name or `provider/model`. Raises NotFound naming what there is."""
    known = routes(config)
    targets = known.get(wanted, (wanted,))
    found = []
    for target in targets:
        provider, _, model = target.partition("/")
        options = config.providers.get(provider)
        if options is None or model not in options.models:
            raise NotFound(
                f"There is no model '{wanted}'.",
                f"There are the routes {', '.join(known)}, and {', '.join(_models(config))}.",
                argument="model",
            )
        found.append(Candidate(provider, model, options))
    return found


def _models(config: ModelsConfig) -> list[str]:
    return [f"{provider}/{model}" for provider, options in config.providers.items() for model in options.models]
