"""`providers.yaml`: read strictly, wrong places named, keys never in it and never shown."""

import sys
from pathlib import Path
from typing import Any

import keyring
import pytest
from keyring.backend import KeyringBackend

from quantum_suite.core.errors import ConfigurationError, Refused
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.limits.memory import MemoryRateLimiter
from quantum_suite.services.llm.configuration import ProviderOptions
from quantum_suite.services.llm.interface import Message, ModelRequest
from quantum_suite.services.llm.ledger.memory import MemoryLedger
from quantum_suite.services.llm.loading import credentials, load_models
from quantum_suite.services.llm.opening import open_gateway, open_models

GOOD = "providers:\n  local:\n    kind: ollama\n    models: {qwen: {}}\n"


def wrong(text: str, tmp_path: Path) -> str:
    file = tmp_path / "providers.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as refused:
        load_models(file)
    return str(refused.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("providers: {}\n", "line 1"),
        (GOOD + "routs: {}\n", "line 5, column 1: routs"),
        (GOOD.replace("kind: ollama", "kind: clippy"), "line 3"),
        (
            GOOD.replace("kind: ollama", "kind: ollama\n    api_key: sk-secret-key-in-the-file"),
            "write ${VARIABLE}",
        ),
        (GOOD.replace("kind: ollama", "kind: openai"), "openai needs api_key"),
        (
            GOOD.replace("kind: ollama", "kind: azure\n    api_key: ${K}\n    base_url: https://a.example"),
            "api_version",
        ),
        (GOOD.replace("kind: ollama", "kind: vllm\n    base_url: http://models.example.org/v1"), "not encrypted"),
        (GOOD.replace("kind: ollama", "kind: vllm\n    base_url: ftp://a"), "must be https"),
        (
            GOOD.replace("kind: ollama", "kind: vllm\n    base_url: https://u:p@a.example"),
            "must not hold credentials",
        ),
        (GOOD.replace("kind: ollama", "kind: ollama\n    api_key: ${A}\n    api_key_file: /a"), "give one of"),
        (GOOD.replace("kind: ollama", "kind: ollama\n    api_key_file: a"), "/path or ~/path"),
        (GOOD.replace("kind: ollama", "kind: ollama\n    api_key_keyring: a"), "service/user"),
        (GOOD.replace("local", "Lo cal"), "cannot name a provider"),
        (
            GOOD + "routes: {default: [lokal/qwen]}\n",
            "line 5, column 20: routes.default[0]: there is no provider 'lokal'",
        ),
        (GOOD + "routes: {default: [local/qwin]}\n", "local has no model 'qwin', but qwen"),
        (GOOD + "routes: {default: []}\n", "leads nowhere"),
        (GOOD + "budgets: [{per: day}]\n", "give usd, tokens or both"),
        (GOOD + "budgets: [{per: week, usd: 1}]\n", "budgets"),
        ("providers: [\n", "line"),
    ],
)
def test_what_is_wrong_in_the_file_is_named_with_its_place(text: str, says: str, tmp_path: Path) -> None:
    told = wrong(text, tmp_path)
    assert says in told
    assert "sk-secret" not in told


def test_only_the_first_problems_are_told_and_how_many_more_there_are(tmp_path: Path) -> None:
    text = GOOD + "".join(f"key{number}: 1\n" for number in range(8))
    assert "There are 3 more." in wrong(text, tmp_path)


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read") as refused:
        load_models(tmp_path / "none.yaml")
    assert "QUANTUM_MODELS" in str(refused.value)
    (tmp_path / "latin.yaml").write_bytes(b"# caf\xe9\n")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        load_models(tmp_path / "latin.yaml")


def options(**more: Any) -> ProviderOptions:
    return ProviderOptions.model_validate({"kind": "ollama", "models": {"m": {}}, **more})


def test_a_key_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    given = options(api_key="${KEY}", headers={"x": "a ${TEAM}"})
    assert credentials(given, {"KEY": " k1 ", "TEAM": "red"}) == ("k1", {"x": "a red"})
    (tmp_path / "key").write_text("k2\n")
    assert credentials(options(api_key_file=str(tmp_path / "key")), {}) == ("k2", {})
    assert credentials(options(), {}) == ("", {})


def test_a_key_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="variable KEY is not set"):
        credentials(options(api_key="${KEY}"), {})
    with pytest.raises(ConfigurationError, match="variable TEAM is not set"):
        credentials(options(headers={"x": "${TEAM}"}), {})
    with pytest.raises(ConfigurationError, match="cannot be read"):
        credentials(options(api_key_file=str(tmp_path / "none")), {})
    (tmp_path / "two").write_text("a\nb\n")
    with pytest.raises(ConfigurationError, match="one line"):
        credentials(options(api_key_file=str(tmp_path / "two")), {})


def test_a_key_in_the_keyring_is_read_and_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Held(KeyringBackend):
        priority = 1  # type: ignore[assignment]  # a class property there

        def get_password(self, service: str, username: str) -> str | None:
            return "k3" if (service, username) == ("models", "openai") else None

        def set_password(self, service: str, username: str, password: str) -> None:
            raise NotImplementedError

        def delete_password(self, service: str, username: str) -> None:
            raise NotImplementedError

    before = keyring.get_keyring()
    keyring.set_keyring(Held())
    try:
        assert credentials(options(api_key_keyring="models/openai"), {}) == ("k3", {})
        with pytest.raises(ConfigurationError, match="holds no key for models/other"):
            credentials(options(api_key_keyring="models/other"), {})
    finally:
        keyring.set_keyring(before)
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ConfigurationError, match=r"quantum-suite\[keyring\]"):
        credentials(options(api_key_keyring="models/openai"), {})


@pytest.mark.anyio
async def test_a_data_directory_without_a_file_has_a_gateway_that_says_how_to_configure(tmp_path: Path) -> None:
    def opened(path: Path | None = None) -> Any:
        return open_models(
            tmp_path, path, events=MemoryEventStore(EventRegistry([])), cache=None, limiter=MemoryRateLimiter()
        )

    request = ModelRequest((Message("user", "?"),))
    async with opened() as models:
        assert not models.configured
        with pytest.raises(Refused, match="QUANTUM_MODELS"):
            await models.ask(request, "ann")
        with pytest.raises(Refused, match="QUANTUM_MODELS"):
            async with models.stream(request, "ann"):
                raise AssertionError
        assert await models.used("day") == []
    (tmp_path / "providers.yaml").write_text(GOOD)
    async with opened() as models:
        assert models.configured
    with pytest.raises(ConfigurationError):
        async with opened(tmp_path / "elsewhere.yaml"):
            raise AssertionError


@pytest.mark.anyio
async def test_every_kind_is_opened_with_its_own_address_and_key(tmp_path: Path) -> None:
    text = """
providers:
  openai: {kind: openai, api_key: "${K}", models: {m: {}}}
  azure: {kind: azure, api_key: "${K}", api_version: "2024-10-21", base_url: "https://a.example", models: {m: {}}}
  claude: {kind: anthropic, api_key: "${K}", models: {m: {}}}
  vllm: {kind: vllm, base_url: "http://10.0.0.1:8000/v1", models: {m: {}}, disabled: true}
"""
    file = tmp_path / "providers.yaml"
    file.write_text(text)
    async with open_gateway(file, ledger=MemoryLedger(), environ={"K": "k"}) as models:
        providers = (await models.standing("ann")).providers
    assert [(one.host, one.state) for one in providers] == [
        ("api.openai.com", "ready"),
        ("a.example", "ready"),
        ("api.anthropic.com", "ready"),
        ("10.0.0.1:8000", "unusable"),
    ]
    assert providers[-1].why == "it is disabled"
