"""Base backups: streamed by pg_basebackup, sealed as they come, never plain on a disk; and their restore."""

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import anyio
import anyio.to_thread

from quantum_suite.core.errors import Damaged, EngineError, Unavailable
from quantum_suite.services.encryption.cipher import Opener, Sealer
from quantum_suite.services.encryption.interface import DataKey
from quantum_suite.services.process_group import ProcessError, ProcessGroup, Tail, secrets_in
from quantum_suite.services.recovery.cluster import Cluster
from quantum_suite.services.recovery.sealed_files import SealedReader, SealedWriter

BASE = "base.tar"
MANIFEST = "manifest.sealed"


@dataclass(frozen=True, slots=True)
class SealedBackup:
    """A folder with one sealed base backup, and what its manifest says."""

    folder: Path
    key: DataKey
    id: str
    plain_bytes: int
    sha256: str
    """Of the plain tar."""


async def take_backup(
    command: Sequence[str],
    folder: Path,
    key: DataKey,
    backup: str,
    *,
    cwd: Path,
    env: Mapping[str, str],
    timeout_seconds: float,
) -> SealedBackup:
    """Run a pg_basebackup that writes a tar to stdout, and seal that; nothing stays of one that fails."""
    await anyio.Path(folder).mkdir(mode=0o700, exist_ok=True)
    with SealedWriter(folder / BASE, key, backup) as writer:
        await _stream(command, writer, cwd=cwd, env=env, timeout_seconds=timeout_seconds)
        digest = await anyio.to_thread.run_sync(writer.finish)
        size = writer.plain_bytes
    said = json.dumps({"backup": backup, "files": {BASE: {"sha256": digest, "bytes": size}}})
    sealed = Sealer(key).seal(said.encode(), f"{backup}/{MANIFEST}".encode())
    await anyio.Path(folder / MANIFEST).write_bytes(sealed)
    return SealedBackup(folder, key, backup, size, digest)


def backup_command(cluster: Cluster) -> list[str]:
    """Return the command that streams a base backup of a drill's own cluster; its WAL comes from the archive."""
    return cluster.programs.command(
        "pg_basebackup",
        *("-d", cluster.conninfo, "-D", "-", "-F", "tar", "-X", "none", "-c", "fast"),
        "--manifest-checksums=SHA256",
    )


def open_backup(folder: Path, key: DataKey, backup: str) -> SealedBackup:
    """Return what a backup's manifest says; raises Damaged when it is another's, or under another key."""
    try:
        sealed = (folder / MANIFEST).read_bytes()
        said = json.loads(Opener(key).open(sealed, f"{backup}/{MANIFEST}".encode()))
    except (Damaged, FileNotFoundError) as error:
        raise Damaged(
            "The backup's manifest does not open: it is missing, altered, another backup's or under another key.",
            "Restore from another backup, or find the key this one was sealed under.",
        ) from error
    base = said["files"][BASE]
    return SealedBackup(folder, key, backup, base["bytes"], base["sha256"])


def unpack(backup: SealedBackup, target: Path) -> None:
    """Decrypt and unpack a base backup into an empty folder; raises Damaged for anything but what was sealed."""
    made: set[PurePosixPath] = set()
    try:
        with (
            SealedReader(backup.folder / BASE, backup.key, backup.id) as reader,
            tarfile.open(fileobj=reader, mode="r|", bufsize=1024 * 1024) as tar,
        ):
            for member in tar:
                _unpack_one(tar, member, target, made)
            while reader.read(1024 * 1024):
                pass  # What follows the tar's end has to open too.
    except FileNotFoundError as error:
        raise Damaged(f"The backup has no {BASE}.", "Restore from another backup.") from error
    except tarfile.TarError as error:
        raise Damaged(f"{BASE} is no whole archive: {error}.", "Restore from another backup.") from error


def _unpack_one(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path, made: set[PurePosixPath]) -> None:
    """Write one file or folder. The server that sent the tar is not trusted with where that is."""
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or not (member.isreg() or member.isdir()):
        raise Damaged(
            f"The backup holds {member.name[:200]!r}, which is neither a file nor a folder of a data folder.",
            "Servers whose WAL or tablespaces lie elsewhere cannot be drilled with.",
        )
    place = target / name
    if member.isdir():
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    elif name.parent not in made:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        made.add(name.parent)
    plain = tar.extractfile(member)
    if plain is not None:
        with plain, os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            shutil.copyfileobj(plain, file, 1024 * 1024)


async def verify(cluster: Cluster) -> str:
    """Have pg_verifybackup check every file of a restored cluster against its manifest; returns what it said."""
    said = await cluster.run("pg_verifybackup", "--no-parse-wal", cluster.data)
    return (said.strip().splitlines() or ["verified"])[-1]


async def _stream(
    command: Sequence[str], writer: SealedWriter, *, cwd: Path, env: Mapping[str, str], timeout_seconds: float
) -> None:
    failure: list[OSError] = []
    stopped = anyio.Event()

    def feed(data: bytes) -> None:
        # On the loop of a process that has nothing else to do: reading waits until this is written.
        if not failure:
            try:
                writer.feed(data)
            except OSError as error:
                failure.append(error)
                stopped.set()

    stderr = Tail(30, secrets_in(env))
    try:
        group = await ProcessGroup.start(
            command, feed, stderr, cwd=cwd, env=env, stdin=subprocess.DEVNULL, grace_seconds=2.0
        )
    except ProcessError as error:
        raise error.as_engine_error("pg_basebackup") from error
    ended = False
    try:
        with anyio.move_on_after(timeout_seconds):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_closed, group, stopped)
                await stopped.wait()
                tasks.cancel_scope.cancel()
            ended = not failure
    finally:
        await group.end(patient=False, gentle=False)
    if failure:
        raise Unavailable(
            f"The sealed backup cannot be written: {failure[0].strerror}.", "Free room in the scratch folder."
        )
    if not ended or group.popen.returncode != 0:
        last = (stderr.lines() or ["it said nothing"])[-1][:300]
        why = last if ended else f"not done within {timeout_seconds:g} seconds"
        raise EngineError(
            f"pg_basebackup failed: {why}",
            "Look at the server's replication settings and rights.",
            engine="pg_basebackup",
            printed="\n".join(stderr.lines()),
        )


async def _closed(group: ProcessGroup, stopped: anyio.Event) -> None:
    await group.exited.wait()
    await group.pipes_closed.wait()
    stopped.set()
