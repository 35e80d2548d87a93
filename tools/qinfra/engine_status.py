"""Which libraries and programs infrastructure as code and recovery stand on, and which of them are here."""

from collections.abc import Sequence

from quantum_suite.core.engines import EngineStatus
from quantum_suite.services.infrastructure.embedded.engine import INSTALL_COMMAND
from quantum_suite.services.installed_engines import package_status, program_status
from quantum_suite.services.recovery import programs

INSTALL_PULUMI = "curl -fsSL https://get.pulumi.com | sh"
"""What Pulumi's own instructions say, for Linux and macOS."""


def infrastructure_engines() -> Sequence[EngineStatus]:
    """Return what stacks, policies, drift and drills stand on. Starts nothing."""
    return (
        package_status("pulumi", "stacks: planning and applying Pulumi programs", INSTALL_COMMAND),
        program_status(
            "pulumi-cli",
            "stacks of every language, with QUANTUM_STACK_ENGINE=pulumi",
            INSTALL_PULUMI,
            program="pulumi",
        ),
        package_status("pulumi-policy", "policy packs of Pulumi's", INSTALL_COMMAND),
        package_status("regopy", "the Rego policies that every plan is judged by", INSTALL_COMMAND),
        package_status("boto3", "AWS: resources of the library, and what no stack has", INSTALL_COMMAND),
        programs.engine_status(),
    )
