"""Owns a folder of Chroma, or talks to its server: `python -m ...chroma_worker folder|server WHERE`."""

import base64
import fcntl
import hashlib
import importlib.util
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quantum_suite.core.errors import CallerError, ConfigurationError, EngineError, Unavailable
from quantum_suite.services.knowledge.vectors.chroma import ENGINE, missing
from quantum_suite.services.knowledge.worker_loop import Answer, serve

_LOCK_SECONDS = 5.0
"""How long a lock is waited for. The owner of a suite that was just killed needs a moment to notice."""
_PAUSE_SECONDS = 0.05
_GRAPH = {"hnsw": {"space": "cosine", "ef_construction": 200, "ef_search": 200}}


class Owner:
    """Answers requests with Chroma's client."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._open: dict[str, Any] = {}

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Do what is asked. Raises the errors of the tree, and whatever Chroma raises."""
        from chromadb.errors import InternalError, NotFoundError

        verb = getattr(self, f"_{request['do']}")
        try:
            return dict(verb(request))
        except NotFoundError:
            # Dropped by another client of the server; looked up anew.
            self._open.clear()
            return dict(verb(request))
        except (OSError, InternalError) as error:
            if isinstance(error, InternalError) and "disk" not in str(error).lower():
                raise
            raise Unavailable(f"Chroma cannot write: {str(error)[:200]}", "Make room on the disk.") from error

    def _put(self, request: Mapping[str, Any]) -> dict[str, Any]:
        import numpy

        vectors = numpy.frombuffer(base64.b64decode(request["vectors"]), "<f4").reshape(-1, request["length"])
        collection = self._collection(request["collection"])
        if collection is None:
            collection = self._client.create_collection(
                _stored_name(request["collection"]),
                metadata={"collection": request["collection"]},
                configuration=_GRAPH,
                embedding_function=None,
                get_or_create=True,
            )
            self._open[request["collection"]] = collection
        groups = [{"group": group} for group in request["groups"]]
        try:
            collection.upsert(ids=request["ids"], embeddings=vectors, metadatas=groups)
        except Exception as error:
            if "dimension" not in str(error):
                raise
            raise CallerError(
                f"A vector of {request['length']} numbers does not fit {request['collection']}: {error}",
                "Use another collection for another model.",
            ) from error
        return {}

    def _delete(self, request: Mapping[str, Any]) -> dict[str, Any]:
        collection = self._collection(request["collection"])
        if collection is not None and request["ids"]:
            collection.delete(ids=request["ids"])
        return {}

    def _ids(self, request: Mapping[str, Any]) -> dict[str, Any]:
        collection = self._collection(request["collection"])
        if collection is None:
            return {"ids": []}
        return {"ids": collection.get(limit=request["limit"], offset=request["offset"], include=[])["ids"]}

    def _nearest(self, request: Mapping[str, Any]) -> dict[str, Any]:
        import numpy

        collection = self._collection(request["collection"])
        if collection is None:
            return {"found": []}
        vector = numpy.frombuffer(base64.b64decode(request["vector"]), "<f4")
        found = collection.query(query_embeddings=[vector], n_results=request["limit"], include=["distances"])
        return {"found": list(zip(found["ids"][0], map(float, found["distances"][0]), strict=True))}

    def _drop(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if self._collection(request["collection"]) is not None:
            self._client.delete_collection(_stored_name(request["collection"]))
            del self._open[request["collection"]]
        return {}

    def _collection(self, name: str) -> Any:
        """Return a collection; None where there is none."""
        from chromadb.errors import NotFoundError

        if name not in self._open:
            try:
                self._open[name] = self._client.get_collection(_stored_name(name), embedding_function=None)
            except NotFoundError:
                return None
        return self._open[name]


def _stored_name(collection: str) -> str:
    """Return a name that Chroma takes: it allows few characters."""
    return "q-" + hashlib.sha256(collection.encode()).hexdigest()[:48]


def _own(directory: Path) -> None:
    """Lock a folder until this process ends, and say in it who has it."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(directory / "owner.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(f"{directory} cannot be used: {error.strerror}.", "Mend the data directory.") from error
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                owner = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip() or "another process"
                raise Unavailable(
                    f"The vectors in {directory} are in use by {owner}; Chroma's files bear one owner.",
                    "Use the suite that runs there, stop it, or configure a Chroma server or PostgreSQL for both.",
                ) from None
            time.sleep(_PAUSE_SECONDS)
    note = f"process {os.getpid()} (of the suite with process id {os.getppid()})"
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, note.encode(), 0)


def _start(kind: str, where: str) -> Answer:
    if importlib.util.find_spec("chromadb") is None:
        raise missing()
    if kind == "folder":
        _own(Path(where))
    # Heavy; this process exists to be the one that imports it.
    import chromadb
    from chromadb.config import Settings

    settings = Settings(anonymized_telemetry=False)
    if kind == "folder":
        return Owner(chromadb.PersistentClient(where, settings=settings)).answer
    return _ServerAnswers(where, settings).answer


class _ServerAnswers:
    """Connects when asked, so that a server that is away now can be there for the next request."""

    def __init__(self, url: str, settings: Any) -> None:
        from urllib.parse import urlsplit

        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(f"{url} is no address of a Chroma server.", "Use http://host:8000.")
        self._url, self._parts, self._settings = url, parts, settings
        self._owner: Owner | None = None

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """As `Owner.answer`; raises Unavailable while the server is away."""
        import chromadb
        import httpx

        parts = self._parts
        try:
            if self._owner is None:
                client = chromadb.HttpClient(
                    host=str(parts.hostname),
                    port=parts.port or (443 if parts.scheme == "https" else 80),
                    ssl=parts.scheme == "https",
                    settings=self._settings,
                )
                self._owner = Owner(client)
            return self._owner.answer(request)
        except (httpx.TransportError, ValueError) as error:
            if isinstance(error, ValueError) and "Could not connect" not in str(error):
                raise EngineError(str(error)[:300], engine=ENGINE) from error
            self._owner = None
            raise Unavailable(f"The Chroma server at {parts.hostname} cannot be reached.", "Start it.") from error


if __name__ == "__main__":
    serve(lambda: _start(sys.argv[1], sys.argv[2]))
