"""Files: content and mode, written whole or not at all."""

import base64
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import (
    CheckFailure,
    CheckResult,
    CreateResult,
    DiffResult,
    ReadResult,
    Resource,
    ResourceProvider,
    UpdateResult,
)
from pulumi.runtime import rpc

from quantum_suite.services.infrastructure.library.properties import (
    IDENTITY,
    Property,
    checked,
    differing,
    holds_unknown,
    text,
)

_MOST_BYTES = 16 * 1024 * 1024


def _mode(value: Any) -> str:
    if not isinstance(value, str) or not value or set(value) - set("01234567") or int(value, 8) > 0o7777:
        raise ValueError("a mode is written in octal digits, as 0644")
    return f"{int(value, 8):04o}"


class FileProvider(ResourceProvider):
    """Files, by their path."""

    serialize_as_secret_always = False
    properties = {  # noqa: RUF012 - read only
        "path": Property(normal=text, replaces=True),
        "content": Property("", text),
        "base64": Property(None, text),
        "mode": Property("0644", _mode),
    }

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Return the inputs in their one form."""
        inputs, wrong = checked(self.properties, {key: value for key, value in news.items() if key != IDENTITY})
        if not wrong:
            if inputs.get("base64") is not None and inputs.get("content"):
                wrong.append(("base64", "content or base64, not both"))
            path = inputs["path"]
            inputs[IDENTITY] = rpc.UNKNOWN if holds_unknown(path) else path
        return CheckResult(inputs, [CheckFailure(name, words) for name, words in wrong])

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Compare what there is with what is to be."""
        names = differing(self.properties, olds, news)
        return DiffResult(changes=bool(names), replaces=[name for name in names if name == "path"])

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Write the file."""
        return CreateResult(str(props["path"]), self._written(props))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Write it anew."""
        return UpdateResult(self._written(news))

    def _written(self, props: dict[str, Any]) -> dict[str, Any]:
        path = Path(props["path"])
        path.parent.mkdir(parents=True, exist_ok=True)
        given = props.get("base64")
        content = base64.b64decode(given, validate=True) if given is not None else str(props["content"]).encode()
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fchmod(file.fileno(), int(props["mode"], 8))
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return self._found(path, given is not None, props)

    def _found(self, path: Path, encoded: bool, props: dict[str, Any]) -> dict[str, Any]:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"{path} is larger than {_MOST_BYTES} bytes")
        content = path.read_bytes()
        try:
            written = {"content": content.decode()} if not encoded else {}
        except UnicodeDecodeError:
            written, encoded = {}, True
        if encoded:
            written = {"base64": base64.b64encode(content).decode(), "content": ""}
        kept = {IDENTITY: props[IDENTITY]} if IDENTITY in props else {}
        return {
            "path": str(path),
            "mode": f"{path.stat().st_mode & 0o7777:04o}",
            "sha256": hashlib.sha256(content).hexdigest(),
            **written,
            **kept,
        }

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Return the file as it is."""
        path = Path(id_)
        if not path.is_file():
            return ReadResult(None, {})
        found = self._found(path, props.get("base64") is not None, props)
        inputs = {key: value for key, value in found.items() if key in self.properties or key == IDENTITY}
        return ReadResult(id_, found, inputs)

    def delete(self, id_: str, _props: dict[str, Any]) -> None:
        """Delete it; one that is gone is gone."""
        Path(id_).unlink(missing_ok=True)


class File(Resource, module="files", name="File"):
    """A file: path, content or base64, mode. A run may write below the project's folder."""

    path: pulumi.Output[str]
    sha256: pulumi.Output[str]

    def __init__(
        self,
        resource_name: str,
        path: "pulumi.Input[str]",
        content: "pulumi.Input[str] | None" = None,
        *,
        base64: "pulumi.Input[str] | None" = None,
        mode: "pulumi.Input[str] | None" = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        given = {"path": path, "content": content, "base64": base64, "mode": mode, "sha256": None}
        super().__init__(FileProvider(), resource_name, given, opts)
