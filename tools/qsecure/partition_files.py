"""How a scan is cut into parts: each is staged, scanned and stored by itself, and is what a resumed scan skips."""

from collections.abc import Iterable, Iterator

from quantum_suite.tools.qsecure.select_files import ScanLimits, SelectedFile

# One command line names every Python file of a part; it may hold 2 MiB on Linux, less elsewhere.
_MAX_PATH_BYTES = 192 * 1024
_CONFIGURATION_TIMES = 10


def partition_files(files: Iterable[SelectedFile], limits: ScanLimits) -> Iterator[list[SelectedFile]]:
    """Yield the parts, infrastructure settings first, each in the order of `files`.

    Settings refer to each other across directories (Terraform modules, Helm charts), so they stay together up to
    a bound ten times that of other parts; what fits into one part is not cut at all.
    """
    everything = list(files)
    settings = [file for file in everything if file.is_configuration]
    others = [file for file in everything if not file.is_configuration]
    if next(iter(_cut(everything, limits, 1)), []) == everything:
        settings, others = [], everything
    yield from _cut(settings, limits, _CONFIGURATION_TIMES)
    yield from _cut(others, limits, 1)


def _cut(files: list[SelectedFile], limits: ScanLimits, times: int) -> Iterator[list[SelectedFile]]:
    part: list[SelectedFile] = []
    size = length = 0
    for file in files:
        name_bytes = len(file.relative.encode("utf-8", "surrogateescape")) + 3
        full = (
            len(part) >= limits.part_files * times
            or size + file.stamp.size > limits.part_bytes * times
            or length + name_bytes > _MAX_PATH_BYTES * times
        )
        if part and full:
            yield part
            part, size, length = [], 0, 0
        part.append(file)
        size += file.stamp.size
        length += name_bytes
    if part:
        yield part


def files_to_do(files: list[SelectedFile], done: Iterable[tuple[str, int, int]]) -> list[SelectedFile]:
    """Return the files whose path, size or modification time is not in `done`.

    One changed setting brings back all of them, for the reason given in `partition_files`.
    """
    known = set(done)
    fresh = [f for f in files if (f.stamp.path, f.stamp.size, f.stamp.modified_ns) not in known]
    if any(file.is_configuration for file in fresh):
        changed = {file.stamp.path for file in fresh}
        return [file for file in files if file.is_configuration or file.stamp.path in changed]
    return fresh
