"""What every key provider guarantees."""

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import keyring
import keyring.backend
import pytest
from reference.kv_server import TOKEN, kv_server

from quantum_suite.core.errors import Damaged
from quantum_suite.services.encryption.cipher import new_data_key
from quantum_suite.services.encryption.interface import DataKey, KeyProvider
from quantum_suite.services.encryption.opening import open_key_provider

pytestmark = pytest.mark.anyio

KEY = new_data_key()


class DirectoryKeyring(keyring.backend.KeyringBackend):
    """A keyring in a directory: processes share it, as they share a desktop's."""

    priority = 1  # type: ignore[assignment]  # declared as a property of the class

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        super().__init__()

    def get_password(self, service: str, username: str) -> str | None:
        path = self._directory / f"{service}.{username}"
        return path.read_text() if path.exists() else None

    def set_password(self, service: str, username: str, password: str) -> None:
        path = self._directory / f"{service}.{username}"
        fresh = path.with_suffix(f".{new_data_key().id}")
        fresh.write_text(password)
        fresh.replace(path)  # no keyring shows half a secret


class Opened:
    """Opens any number of providers on the same keys, as several processes would."""

    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self.url = url
        self._stack = stack
        self._memory: KeyProvider | None = None

    async def another(self) -> KeyProvider:
        if self._memory is None:
            opened = await self._stack.enter_async_context(open_key_provider(self.url, {"VAULT_TOKEN": TOKEN}))
            if self.url != "memory://":
                return opened
            self._memory = opened  # memory is shared within the process alone
        return self._memory


@pytest.fixture(params=["memory", "file", "keyring", "vault"])
async def shared(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Opened]:
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            url = "memory://"
        elif request.param == "file":
            url = f"file://{tmp_path}/keys/keys.json"
        elif request.param == "keyring":
            monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
            before = keyring.get_keyring()
            keyring.set_keyring(DirectoryKeyring(tmp_path))
            stack.callback(keyring.set_keyring, before)
            url = "keyring://quantum-test"
        else:
            url = f"vault+http://{stack.enter_context(kv_server()).host}/secret/quantum/keys"
        yield Opened(url, stack)


async def test_the_first_key_is_made_when_it_is_first_asked_for(shared: Opened) -> None:
    provider = await shared.another()
    assert list(await provider.ids()) == []
    key = await provider.current()
    assert len(key.secret) == 32
    assert await provider.current() == key
    assert list(await provider.ids()) == [key.id]


async def test_a_key_outlives_who_made_it(shared: Opened) -> None:
    key = await (await shared.another()).current()
    assert await (await shared.another()).get(key.id) == key


async def test_after_a_rotation_the_new_key_encrypts_and_the_old_one_still_decrypts(shared: Opened) -> None:
    provider = await shared.another()
    old = await provider.current()
    new = await provider.rotate()
    assert new.id != old.id
    assert new.secret != old.secret
    assert await provider.current() == new
    assert await provider.get(old.id) == old
    assert list(await provider.ids()) == [old.id, new.id]


async def test_somebody_elses_rotation_is_seen(shared: Opened) -> None:
    mine, theirs = await shared.another(), await shared.another()
    await mine.current()
    new = await theirs.rotate()
    assert await mine.current() == new
    assert await mine.get(new.id) == new


async def test_a_key_that_is_not_there_is_damage_and_named(shared: Opened) -> None:
    provider = await shared.another()
    await provider.current()
    with pytest.raises(Damaged, match=KEY.id):
        await provider.get(KEY.id)


async def test_those_who_ask_first_at_once_get_the_same_key(shared: Opened) -> None:
    providers = [await shared.another() for _ in range(8)]
    keys: list[DataKey] = []

    async def ask(provider: KeyProvider) -> None:
        keys.append(await provider.current())

    async with anyio.create_task_group() as tasks:
        for one in providers:
            tasks.start_soon(ask, one)
    assert len({key.id for key in keys}) == 1
    assert len(await providers[0].ids()) == 1


async def test_no_rotation_is_lost_when_several_rotate_at_once(shared: Opened) -> None:
    providers = [await shared.another() for _ in range(4)]
    async with anyio.create_task_group() as tasks:
        for one in providers:
            tasks.start_soon(one.rotate)
    assert len(await providers[0].ids()) == 4


async def test_a_secret_is_not_shown_where_a_key_is_printed(shared: Opened) -> None:
    key = await (await shared.another()).current()
    assert repr(key.secret) not in repr(key)


ANOTHER_PROCESS = """
import anyio, sys
from quantum_suite.services.encryption.opening import open_key_provider

async def main():
    async with open_key_provider(sys.argv[1]) as provider:
        first = await provider.current()
        await provider.rotate()
        print(first.id)

anyio.run(main)
"""


async def test_processes_agree_on_the_first_key_and_lose_no_rotation(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/keys/keys.json"
    command = [sys.executable, "-c", ANOTHER_PROCESS, url]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    told = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    async with open_key_provider(url) as provider:
        ids = list(await provider.ids())
    assert len(ids) == 4
    assert set(told) <= set(ids)
