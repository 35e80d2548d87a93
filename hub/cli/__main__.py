"""`python -m quantum_suite.hub.cli`: the quantum command where no script of that name is on the path."""

from quantum_suite.hub.cli.main import program

program()
