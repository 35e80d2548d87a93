"""A backup is unpacked into its folder and nowhere else, whatever the server that sent it put in."""

import io
import tarfile
from pathlib import Path

import pytest

from quantum_suite.core.errors import Damaged
from quantum_suite.services.encryption.cipher import new_data_key
from quantum_suite.services.recovery.backup import BASE, SealedBackup, unpack
from quantum_suite.services.recovery.sealed_files import SealedWriter


def sealed(folder: Path, members: list[tarfile.TarInfo], cut: int = 0) -> SealedBackup:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    key = new_data_key()
    folder.mkdir()
    with SealedWriter(folder / BASE, key, "b") as writer:
        writer.feed(plain.getvalue()[: len(plain.getvalue()) - cut])
        digest = writer.finish()
    return SealedBackup(folder, key, "b", writer.plain_bytes, digest)


def member(name: str, size: int = 0, **attributes: object) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.size = size
    for attribute, value in attributes.items():
        setattr(found, attribute, value)
    return found


def test_files_and_folders_are_there_with_nothing_for_others(tmp_path: Path) -> None:
    folder = member("base", type=tarfile.DIRTYPE, mode=0o777)
    unpack(sealed(tmp_path / "b", [folder, member("base/1/f", 2_000_000, mode=0o4777)]), tmp_path / "data")
    written = tmp_path / "data" / "base" / "1" / "f"
    assert written.stat().st_size == 2_000_000
    assert written.stat().st_mode & 0o7777 == 0o600


@pytest.mark.parametrize(
    "bad",
    [
        member("../out", 1),
        member("/tmp/out", 1),
        member("base/../../out", 1),
        member("pg_wal", type=tarfile.SYMTYPE, linkname="/etc"),
        member("hard", type=tarfile.LNKTYPE, linkname="base"),
        member("pipe", type=tarfile.FIFOTYPE),
        member("disk", type=tarfile.BLKTYPE),
    ],
    ids=lambda bad: bad.name,
)
def test_whatever_would_lie_elsewhere_is_refused(tmp_path: Path, bad: tarfile.TarInfo) -> None:
    with pytest.raises(Damaged, match="neither a file nor a folder"):
        unpack(sealed(tmp_path / "b", [bad]), tmp_path / "data")
    assert not (tmp_path / "out").exists()


def test_a_backup_without_its_tar_or_with_half_of_one_is_damaged(tmp_path: Path) -> None:
    half = sealed(tmp_path / "half", [member("f", 5_000)], cut=9_000)
    with pytest.raises(Damaged, match="no whole archive"):
        unpack(half, tmp_path / "data")
    (half.folder / BASE).unlink()
    with pytest.raises(Damaged, match=r"has no base\.tar"):
        unpack(half, tmp_path / "data")
