"""One file, from its bytes to what the index keeps of it."""

from quantum_suite.services.knowledge.interface import ParsedFile
from quantum_suite.services.knowledge.parsing.decoding import decode
from quantum_suite.services.knowledge.parsing.documents import sections
from quantum_suite.services.knowledge.parsing.languages import is_document, refined
from quantum_suite.services.knowledge.parsing.pieces import chunks
from quantum_suite.services.knowledge.parsing.programs import parse_program


def parse_file(path: str, language: str, data: bytes) -> ParsedFile:
    """Return a file's chunks, symbols and references. Raises NotText for what is no text worth reading.

    `language` is what `language_of` says of the path.
    """
    text = decode(data).text
    if is_document(language):
        return _parse_document(path, language, text)
    return parse_program(path, refined(language, path, data), text)


def _parse_document(path: str, language: str, text: str) -> ParsedFile:
    found = tuple(chunks(path, language, (), sections(path, language, text)))
    return ParsedFile(path, language, found, (), (), (), 0)
