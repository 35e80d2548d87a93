"""What is sealed opens as it was written, in its place, under its key, or not at all."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from quantum_suite.core.errors import Damaged
from quantum_suite.services.encryption.cipher import OVERHEAD_BYTES, new_data_key
from quantum_suite.services.recovery.sealed_files import FRAME_BYTES, SealedReader, SealedWriter

KEY = new_data_key()
FRAME = 4 + FRAME_BYTES + OVERHEAD_BYTES
PLAIN = bytes(range(256)) * (FRAME_BYTES // 256) * 2 + b"the rest"


def seal(path: Path, plain: bytes = PLAIN, backup: str = "b1") -> Path:
    with SealedWriter(path, KEY, backup) as writer:
        for start in range(0, len(plain), 300_000):
            writer.feed(plain[start : start + 300_000])
        writer.finish()
    return path


def opened(path: Path, backup: str = "b1", key: object = KEY) -> bytes:
    with SealedReader(path, key, backup) as reader:  # type: ignore[arg-type]  # one of two keys
        return reader.read()


@pytest.mark.parametrize("size", [0, 1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, len(PLAIN)])
def test_any_length_opens_as_it_was_written(tmp_path: Path, size: int) -> None:
    assert opened(seal(tmp_path / "f", PLAIN[:size])) == PLAIN[:size]
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_nothing_of_the_plain_text_is_in_the_file(tmp_path: Path) -> None:
    assert b"the rest" not in seal(tmp_path / "f").read_bytes()


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "cut in a frame": lambda data: data[:-1],
    "cut between frames": lambda data: data[: 4 + 2 * FRAME],
    "cut in a length": lambda data: data[: 4 + FRAME + 2],
    "only the beginning": lambda data: data[:4],
    "empty": lambda data: b"",
    "one bit": lambda data: data[:5000] + bytes([data[5000] ^ 1]) + data[5001:],
    "frames swapped": lambda data: (
        data[:4] + data[4 + FRAME : 4 + 2 * FRAME] + data[4 : 4 + FRAME] + data[4 + 2 * FRAME :]
    ),
    "frame left out": lambda data: data[:4] + data[4 + FRAME :],
    "frame twice": lambda data: data[: 4 + FRAME] + data[4:],
    "something after it": lambda data: data + b"\0",
    "another kind of file": lambda data: b"ustar" + data,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_file_does_not_open(tmp_path: Path, change: str) -> None:
    path = seal(tmp_path / "base.tar")
    path.write_bytes(CHANGES[change](path.read_bytes()))
    with pytest.raises(Damaged, match=r"base\.tar does not open"):
        opened(path)


def test_a_file_in_anothers_place_does_not_open(tmp_path: Path) -> None:
    shutil.copy(seal(tmp_path / "one"), tmp_path / "two")
    with pytest.raises(Damaged):
        opened(tmp_path / "two")
    with pytest.raises(Damaged):
        opened(tmp_path / "one", backup="b2")


def test_the_wrong_key_opens_nothing(tmp_path: Path) -> None:
    with pytest.raises(Damaged, match="under another key"):
        opened(seal(tmp_path / "one"), key=new_data_key())


def test_a_file_that_was_broken_off_leaves_none(tmp_path: Path) -> None:
    def broken_off() -> None:
        with SealedWriter(tmp_path / "f", KEY, "b1") as writer:
            writer.feed(PLAIN)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken_off()
    assert list(tmp_path.iterdir()) == []
