"""Keeps plans until they are applied: the plan as everybody may read it, and, sealed, what it was asked with."""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio.to_thread

from quantum_suite.core.errors import CallerError, Damaged, NotFound
from quantum_suite.services.encryption.cipher import Opener, Sealer, key_id_of
from quantum_suite.services.encryption.interface import KeyProvider
from quantum_suite.services.infrastructure.interface import ImportRequest, StackRef, StackRequest
from quantum_suite.services.infrastructure.plan import Plan
from quantum_suite.services.records.durable_files import replace_durably

_DIGEST = re.compile(r"[0-9a-f]{64}")
_KEPT = 500
_KEPT_SECONDS = 30 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class StoredPlan:
    """A plan, and what it was asked with. The environment is not kept: it is the operator's, and read anew."""

    plan: Plan
    request: StackRequest
    owner: str


class FilePlanStore:
    """One file a plan, named by its digest. The oldest go when there are many, and all after thirty days."""

    def __init__(self, directory: Path, keys: KeyProvider) -> None:
        self._directory = directory
        self._keys = keys

    async def keep(self, plan: Plan, request: StackRequest, owner: str) -> None:
        """Keep a plan. Its configuration, with its secrets, is sealed."""
        sealer = Sealer(await self._keys.current())
        sealed = sealer.seal(json.dumps(_asked(request)).encode(), plan.digest.encode())
        body = {"owner": owner, "plan": plan.model_dump(mode="json"), "request": sealed.hex()}
        await anyio.to_thread.run_sync(self._write, plan.digest, json.dumps(body).encode())

    async def get(self, digest: str) -> StoredPlan:
        """Return a plan; raises NotFound, and Damaged for a file that was altered."""
        body = await anyio.to_thread.run_sync(self._read, digest)
        if body is None:
            raise NotFound(
                f"There is no plan '{digest}'.",
                "Make one with preview_stack; its answer has the digest.",
                argument="plan_digest",
            )
        try:
            sealed = bytes.fromhex(body["request"])
            key = await self._keys.get(key_id_of(sealed))
            asked = json.loads(Opener(key).open(sealed, digest.encode()))
            return StoredPlan(Plan.model_validate(body["plan"]), _request_of(asked), body["owner"])
        except (KeyError, ValueError, TypeError) as error:
            raise Damaged(f"The stored plan {digest} was altered.", "Preview again.") from error

    async def get_for(self, ref: StackRef, digest: str) -> StoredPlan:
        """Return a plan of that stack; raises CallerError where it is of another, and as `get` does."""
        stored = await self.get(digest)
        if stored.request.ref != ref:
            raise CallerError(
                "That plan is for another stack.",
                "Give the folder and the stack it was made for.",
                argument="plan_digest",
            )
        return stored

    def plan_json(self, digest: str) -> Mapping[str, Any] | None:
        """Return a plan's JSON, if it is here: to say what differs from it."""
        body = self._read(digest)
        return body["plan"] if body is not None else None

    def _read(self, digest: str) -> dict[str, Any] | None:
        if not _DIGEST.fullmatch(digest):
            return None
        try:
            body = json.loads((self._directory / f"{digest}.json").read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise Damaged(f"The stored plan {digest} was altered.", "Preview again.") from error
        return body if isinstance(body, dict) else None

    def _write(self, digest: str, content: bytes) -> None:
        replace_durably(self._directory / f"{digest}.json", content)
        self._tidy()

    def _tidy(self) -> None:
        plans = sorted(self._directory.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
        oldest = time.time() - _KEPT_SECONDS
        for number, path in enumerate(plans):
            if number >= _KEPT or path.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)


def _asked(request: StackRequest) -> dict[str, Any]:
    return {
        "folder": str(request.ref.folder),
        "stack": request.ref.stack,
        "config": dict(request.config),
        "secret_config": sorted(request.secret_config),
        "targets": list(request.targets),
        "refresh": request.refresh,
        "pending": dict(request.pending),
        "policy_packs": [str(folder) for folder in request.policy_packs],
        "import": [request.import_.urn, request.import_.id] if request.import_ else None,
    }


def _request_of(asked: Mapping[str, Any]) -> StackRequest:
    return StackRequest(
        StackRef(Path(asked["folder"]), asked["stack"]),
        config=asked["config"],
        secret_config=frozenset(asked["secret_config"]),
        targets=tuple(asked["targets"]),
        refresh=asked["refresh"],
        pending=asked["pending"],
        policy_packs=tuple(map(Path, asked["policy_packs"])),
        import_=ImportRequest(*asked["import"]) if asked["import"] else None,
    )
