"""What of a chunk a model reads."""

_MOST_CHARACTERS = 2_000
"""More than the default model reads (256 word pieces); some for models that read further."""


def embedding_text(path: str, qualified_name: str, docstring: str, text: str, *, is_document: bool) -> str:
    """Return a chunk as it is embedded: where it belongs, what is said of it outside its source, and its source.

    The source stays as it is: signature and docstring lead it, and a view of names and docstring alone, or one
    that is added to it, found less (see the decision on knowledge).
    """
    if is_document:
        about = [path, qualified_name]
    else:
        owner = qualified_name.rpartition(".")[0]
        opening = docstring.strip().partition("\n")[0].strip()
        about = [owner, docstring.strip() if opening and opening not in text else ""]
    return "\n".join([*filter(None, about), text])[:_MOST_CHARACTERS]
