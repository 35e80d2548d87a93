"""A key file that others can reach is refused, and one that is damaged is never overwritten."""

import stat
from pathlib import Path

import pytest

from quantum_suite.core.errors import ConfigurationError, Damaged, Unavailable
from quantum_suite.services.encryption.file import FileKeyProvider

pytestmark = pytest.mark.anyio


async def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "keys.json"
    await FileKeyProvider(path).current()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o666])
async def test_a_file_others_may_reach_is_refused_with_the_command_that_mends_it(
    tmp_path: Path, mode: int
) -> None:
    path = tmp_path / "keys.json"
    provider = FileKeyProvider(path)
    await provider.current()
    path.chmod(mode)
    for attempt in (provider.current, provider.rotate, provider.ids):
        with pytest.raises(ConfigurationError, match=f"chmod 600 {path}"):
            await attempt()
    path.chmod(0o600)
    assert len(await provider.ids()) == 1


async def test_a_directory_others_may_write_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "open"
    directory.mkdir()
    directory.chmod(0o777)
    with pytest.raises(ConfigurationError, match="chmod 700"):
        await FileKeyProvider(directory / "keys.json").current()


async def test_a_link_is_not_followed(tmp_path: Path) -> None:
    await FileKeyProvider(tmp_path / "real.json").current()
    (tmp_path / "keys.json").symlink_to(tmp_path / "real.json")
    with pytest.raises(Unavailable):
        await FileKeyProvider(tmp_path / "keys.json").current()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff\xfe",
        b'{"format": "quantum-suite-keys/2", "keys": []}',
        b'{"format": "quantum-suite-keys/1", "keys": []}',
        b'{"format": "quantum-suite-keys/1", "keys": [{"id": "x", "made_at": "", "secret": "AAAA"}]}',
        b'{"format": "quantum-suite-keys/1", "keys": [{"id": "00112233445566778", "made_at": "", "secret": ""}]}',
    ],
)
async def test_a_damaged_file_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(content)
    path.chmod(0o600)
    for attempt in (FileKeyProvider(path).current, FileKeyProvider(path).rotate):
        with pytest.raises(Damaged, match="backup"):
            await attempt()
    assert path.read_bytes() == content


async def test_what_a_killed_writer_left_beside_the_file_is_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    key = await FileKeyProvider(path).current()
    (tmp_path / ".keys.json.new").write_bytes(b"half")
    new = await FileKeyProvider(path).rotate()
    assert list(await FileKeyProvider(path).ids()) == [key.id, new.id]
