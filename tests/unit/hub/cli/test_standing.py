"""What a person is told of the engines."""

import io

from rich.console import Console

from quantum_suite.core.engines import EngineStatus
from quantum_suite.hub.cli.standing import print_engines


def test_engines_are_told_with_version_or_place_or_what_installs_them() -> None:
    written = io.StringIO()
    console = Console(file=written, width=200)
    print_engines(
        console,
        {
            "qinfra": [
                EngineStatus(name="boto3", provides="AWS", available=True, version="1.40", location="/lib/boto3"),
                EngineStatus(name="pulumi-cli", provides="stacks", available=True, location="/bin/pulumi"),
                EngineStatus(
                    name="regopy",
                    provides="policies",
                    available=False,
                    problem="regopy is not installed",
                    install_command="pip install regopy",
                ),
            ],
            "events": [],
        },
    )
    printed = written.getvalue()
    assert printed.splitlines()[1:] == [
        "Engines of qinfra",
        "  found    boto3 1.40  AWS",
        "  found    pulumi-cli /bin/pulumi  stacks",
        "  missing  regopy  policies (regopy is not installed)",
        "           install with: pip install regopy",
    ]
