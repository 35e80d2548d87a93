"""`quantum data`: keys of data at rest, and erasing a person, in the data directory of the hub on this machine."""

from pathlib import Path

from quantum_suite.core.errors import CallerError
from quantum_suite.hub.cli.auditing import opened
from quantum_suite.hub.cli.console import printable, say, write_json, write_line
from quantum_suite.hub.cli.exits import ExitCode
from quantum_suite.services.encryption.data_cipher import REFRESH_SECONDS


async def show_data_keys(data_dir: Path | None, as_json: bool) -> ExitCode:
    """List the keys' names, oldest first."""
    async with opened(data_dir) as stores:
        ids = list(await stores.keys.ids())
        subjects = await stores.subject_keys.count()
    if as_json:
        write_json({"keys": ids, "current": ids[-1] if ids else None, "subjects": subjects})
        return ExitCode.OK
    for key_id in ids:
        write_line(f"{key_id} {'encrypts' if key_id == ids[-1] else 'decrypts'}")
    if not ids:
        say("There are no keys yet: the hub makes the first one.")
    say(f"{subjects:,} people have a key of their own.")
    return ExitCode.OK


async def rotate_data_keys(data_dir: Path | None, as_json: bool) -> ExitCode:
    """Make a new key and wrap people's keys under it."""
    async with opened(data_dir) as stores:
        key = await stores.keys.rotate()
        wrapped = await stores.subject_keys.rewrap()
    if as_json:
        write_json({"key": key.id, "rewrapped": wrapped})
        return ExitCode.OK
    say(f"Key {key.id} encrypts from now on; a hub that is running uses it within {REFRESH_SECONDS:.0f} seconds.")
    say(f"{wrapped:,} people's keys were wrapped under it. Keep the older keys: older data needs them.")
    return ExitCode.OK


async def erase_subject(subject: str, sure: bool, data_dir: Path | None, as_json: bool) -> ExitCode:
    """Destroy a person's key."""
    if as_json and not sure:
        raise CallerError("Erasing cannot be undone.", "Say --yes with --json.", argument="yes")
    async with opened(data_dir) as stores:
        erased = await stores.events.erase(subject)
    if as_json:
        write_json({"subject": subject, "erased": erased})
    elif erased:
        say(f"The key of {printable(subject)} is destroyed: what was said of them can be read by nobody.")
    else:
        say(f"There is no key of {printable(subject)}: nothing is kept under it.")
    return ExitCode.OK
