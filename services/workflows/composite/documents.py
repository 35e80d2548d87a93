"""Reads a definition's YAML: one document, without anchors and aliases."""

from quantum_suite.services.workflows.composite.problems import InvalidDefinition
from quantum_suite.services.yaml_nodes import Node, Problem, UnreadableYaml, YamlForm, read_nodes

MAX_CHARACTERS = 64 * 1024
MAX_VALUES = 5000
_FORM = YamlForm(characters=MAX_CHARACTERS, values=MAX_VALUES)


def read_document(text: str) -> Node:
    """Read one document; raises InvalidDefinition with the place of what is wrong with it."""
    try:
        found = read_nodes(text, _FORM)
    except UnreadableYaml as error:
        raise InvalidDefinition([error.problem]) from error
    if not found:
        raise InvalidDefinition([Problem("", 1, 1, "The text is empty.", "Begin with: name, inputs, steps.")])
    return found[0]
