"""`audit` and `data`: whether what the hub keeps is as it was written, and under which keys it lies."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from quantum_suite.hub.cli.commands.options import DataDir, Json, finish


class ExportFormat(StrEnum):
    """What an export looks like."""

    JSONL = "jsonl"
    OCSF = "ocsf"


Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="TIME",
        help="From then on: 2026-01-31, 2026-01-31T12:00Z or 7d ago.",
        show_default=False,
    ),
]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Before then.", show_default=False)]


def declare(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    audit = typer.Typer(
        help="Verify, export and show the audit log.", no_args_is_help=True, rich_markup_mode=None, epilog=None
    )
    for command in (verify, export, tail, public_keys):
        audit.command()(command)
    app.add_typer(audit, name="audit")
    data = typer.Typer(
        help="Keys of data at rest, and erasing a person.",
        no_args_is_help=True,
        rich_markup_mode=None,
        epilog=None,
    )
    data.command("keys")(show_keys)
    data.command()(rotate_keys)
    data.command()(erase)
    app.add_typer(data, name="data")


def verify(
    chain_only: Annotated[
        bool, typer.Option("--chain-only", help="Leave out the events: records and checkpoints alone.")
    ] = False,
    keys_file: Annotated[
        Path | None,
        typer.Option(
            "--public-keys",
            metavar="FILE",
            help="Whose signatures count, as `audit public-keys --json` wrote it. Default: this installation's.",
            show_default=False,
        ),
    ] = None,
    checkpoints: Annotated[
        Path | None,
        typer.Option(
            "--checkpoints",
            metavar="FILE",
            help="A copy of checkpoints.jsonl kept elsewhere. Default: the one in the data directory.",
            show_default=False,
        ),
    ] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Verify the audit log.

    Names the first record or event that was altered, dropped or inserted, and how that is known.
    """
    from quantum_suite.hub.cli.auditing import verify_audit

    finish(verify_audit, chain_only, keys_file, checkpoints, data_dir, as_json)


def export(
    form: Annotated[
        ExportFormat, typer.Option("--format", help="CloudEvents as JSON Lines, or OCSF 1.2.")
    ] = ExportFormat.JSONL,
    since: Since = None,
    until: Until = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write to this file.", show_default=False),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Write all that happened, an event a line.

    What is said of people under their own keys is left out.
    """
    from quantum_suite.hub.cli.auditing import export_audit

    finish(export_audit, form.value, since, until, output, data_dir)


def tail(
    count: Annotated[int, typer.Option("--lines", "-n", metavar="N", min=1, help="How many calls.")] = 20,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Show the last calls."""
    from quantum_suite.hub.cli.auditing import show_last_calls

    finish(show_last_calls, count, data_dir, as_json)


def public_keys(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Show the public keys of the checkpoints' signatures.

    Kept elsewhere, with a copy of checkpoints.jsonl, they let anyone verify the log without trusting this machine.
    """
    from quantum_suite.hub.cli.auditing import show_public_keys

    finish(show_public_keys, data_dir, as_json)


def show_keys(data_dir: DataDir = None, as_json: Json = False) -> None:
    """List the names of the keys data is encrypted under; none of them is shown."""
    from quantum_suite.hub.cli.securing import show_data_keys

    finish(show_data_keys, data_dir, as_json)


def rotate_keys(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Make a new key for data at rest.

    What is written from now on goes under it, and people's keys are wrapped anew. What was written before stays
    readable under the key before, which must be kept.
    """
    from quantum_suite.hub.cli.securing import rotate_data_keys

    finish(rotate_data_keys, data_dir, as_json)


def erase(
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="The person: a principal's id, e.g. key:ann.")],
    sure: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Erase a person: destroy the key of what is said of them, for good.

    The audit log still verifies. Backups made before hold the key until they are deleted.
    """
    from quantum_suite.hub.cli.securing import erase_subject

    if not sure and not as_json:
        typer.confirm(f"Destroy the key of everything said of {subject}, for good?", abort=True, err=True)
    finish(erase_subject, subject, sure, data_dir, as_json)
