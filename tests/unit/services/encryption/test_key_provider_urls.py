"""Key providers are named by URL, and a wrong one says what would be right."""

import sys
from pathlib import Path

import keyring
import keyring.backends.fail
import pytest
from reference.kv_server import TOKEN, kv_server

from quantum_suite.core.errors import ConfigurationError, Damaged, EngineMissing, Unavailable
from quantum_suite.services.encryption.opening import open_key_provider

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "url",
    [
        "",
        "keys.json",
        "/keys.json",
        "file:keys.json",
        "file:///",
        "file://host/keys.json",
        "file:///keys.json?a=b",
        "keyring://",
        "keyring://service/more",
        "vault+https://",
        "vault+https://vault:8200",
        "vault+https://vault:8200/secret",
        "vault+https://vault:8200/secret/../sys/seal",
        "vault+https://vault:port/secret/keys",
        "vault+http://vault.example:8200/secret/keys",
        "https://vault:8200/secret/keys",
        "awskms://key",
    ],
)
async def test_a_wrong_url_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError, match="keyring://service"):
        async with open_key_provider(url, {}):
            pass


async def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as caught:
        async with open_key_provider("vault+https://user:hunter2@vault/secret/keys", {}):
            pass
    assert "hunter2" not in str(caught.value)


async def test_without_the_package_the_install_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    async with open_key_provider("keyring://quantum", {}) as provider:
        with pytest.raises(EngineMissing, match=r'pip install "quantum-suite\[keyring\]"'):
            await provider.current()


async def test_where_no_keyring_answers_the_alternatives_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    before = keyring.get_keyring()
    keyring.set_keyring(keyring.backends.fail.Keyring())
    try:
        async with open_key_provider("keyring://quantum", {}) as provider:
            with pytest.raises(ConfigurationError, match="file:///path"):
                await provider.current()
    finally:
        keyring.set_keyring(before)


async def test_a_refused_token_is_a_configuration_error_that_does_not_show_it() -> None:
    with kv_server() as server:
        async with open_key_provider(
            f"vault+http://{server.host}/secret/keys", {"VAULT_TOKEN": "s.old"}
        ) as provider:
            with pytest.raises(ConfigurationError, match="permission denied") as caught:
                await provider.current()
    assert "s.old" not in str(caught.value)


async def test_the_token_is_read_from_its_file_anew_every_time(tmp_path: Path) -> None:
    token = tmp_path / "token"
    with kv_server() as server:
        environ = {"VAULT_TOKEN_FILE": str(token), "VAULT_NAMESPACE": "team"}
        async with open_key_provider(f"vault+http://{server.host}/secret/keys", environ) as provider:
            with pytest.raises(ConfigurationError, match="VAULT_TOKEN_FILE"):
                await provider.current()
            token.write_text(f"{TOKEN}\n")
            key = await provider.current()
            server.tokens = {"renewed"}
            token.write_text("renewed")
            assert await provider.current() == key
        assert set(server.namespaces) == {"team"}


async def test_a_sealed_or_absent_vault_is_unavailable() -> None:
    with kv_server() as server:
        url, environ = f"vault+http://{server.host}/secret/keys", {"VAULT_TOKEN": TOKEN}
        server.sealed = True
        async with open_key_provider(url, environ) as provider:
            with pytest.raises(Unavailable, match="sealed"):
                await provider.current()
    async with open_key_provider(url, environ) as provider:
        with pytest.raises(Unavailable, match="does not answer"):
            await provider.current()


async def test_a_wrong_mount_is_named_as_one() -> None:
    with kv_server() as server:
        async with open_key_provider(f"vault+http://{server.host}/kv/keys", {"VAULT_TOKEN": TOKEN}) as provider:
            with pytest.raises(ConfigurationError, match="mount and path"):
                await provider.current()


async def test_a_secret_of_somebody_elses_is_refused_and_kept() -> None:
    with kv_server() as server:
        server.secrets["keys"] = [{"password": "x"}]
        async with open_key_provider(
            f"vault+http://{server.host}/secret/keys", {"VAULT_TOKEN": TOKEN}
        ) as provider:
            with pytest.raises(Damaged, match="no field"):
                await provider.rotate()
        assert server.secrets["keys"] == [{"password": "x"}]
