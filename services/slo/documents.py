"""Reads YAML files of SLOs: several documents, with aliases, as people use them for labels."""

from quantum_suite.services.slo.interface import InvalidSlo, Problem
from quantum_suite.services.yaml_nodes import Node, UnreadableYaml, YamlForm, read_nodes

MAX_CHARACTERS = 512 * 1024
MAX_DEPTH = 24
MAX_VALUES = 20_000
_FORM = YamlForm(MAX_CHARACTERS, MAX_VALUES, MAX_DEPTH, documents=MAX_VALUES, aliases=True, text_keys=False)


def read_documents(text: str, file: str) -> list[Node]:
    """Return the documents that are not empty; raises InvalidSlo with the place of what is wrong."""
    try:
        return [node for node in read_nodes(text, _FORM) if node.value is not None]
    except UnreadableYaml as error:
        wrong = error.problem
        raise InvalidSlo([Problem(file, wrong.line, wrong.path, wrong.message, wrong.hint)]) from error
