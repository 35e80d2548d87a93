"""Dynamic providers for programs: AWS basics, files and commands. With pip alone they make a working stack.

from quantum_suite.services.infrastructure.library import aws, commands, files
"""
