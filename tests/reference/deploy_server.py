"""An MCP server that deploys releases of one service, as a team has one: `python deploy_server.py --stdio`.

In the environment: DEPLOY_FOLDER (with `releases/<name>`, `current` and `pid`), DEPLOY_URL (where the service
answers), and DEPLOY_CHANGES with DEPLOY_KEY (where, and with which key, changes are told).
"""

import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import anyio
import httpx
from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations
from pydantic import BaseModel, Field

if __name__ == "__main__":
    # Started as a script, only this folder is on the path; its siblings are imported through the folder above.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from reference.launch import run

SERVICE = "prices"
START_SECONDS = 20


class Running(BaseModel):
    """What runs, and what could."""

    service: str = Field(description="The service.")
    release: str = Field(description="The release that runs now.")
    releases: list[str] = Field(description="The releases there are.")


class Deployer:
    """Switches releases, and waits until the service itself says that the new one runs."""

    def __init__(self) -> None:
        self._folder = Path(os.environ["DEPLOY_FOLDER"])
        self._http = httpx.AsyncClient(timeout=START_SECONDS)

    async def running(self) -> Running:
        reply = await self._http.get(f"{os.environ['DEPLOY_URL']}/release")
        releases = sorted(path.name for path in (self._folder / "releases").iterdir())
        return Running(service=SERVICE, release=reply.json()["release"], releases=releases)

    async def release(self, name: str) -> Running:
        before = await self.running()
        if name not in before.releases:
            raise ValueError(f"There is no release {name}. There is: {', '.join(before.releases)}.")
        at = datetime.now(UTC).isoformat()
        link = self._folder / "next"
        link.symlink_to(Path("releases") / name)
        link.replace(self._folder / "current")
        os.kill(int((self._folder / "pid").read_text()), signal.SIGHUP)
        with anyio.fail_after(START_SECONDS):
            while (now := await self.running()).release != name:
                await anyio.sleep(0.05)
        await self._tell(f"release {name} in place of {before.release}", at)
        return now

    async def _tell(self, what: str, at: str) -> None:
        headers = {"authorization": f"Bearer {os.environ['DEPLOY_KEY']}"}
        told = {"what": what, "service": SERVICE, "by": "deploy", "at": at}
        (await self._http.post(os.environ["DEPLOY_CHANGES"], json=told, headers=headers)).raise_for_status()


def build() -> MCPServer[Any]:
    """Return the server."""
    server: MCPServer[Any] = MCPServer("deploy", log_level="ERROR")
    deployer = Deployer()

    @server.tool(description="Say which release runs.", annotations=ToolAnnotations(read_only_hint=True))
    async def running() -> Running:
        return await deployer.running()

    @server.tool(
        description="Run a release in place of the one that runs, which stays there to go back to.",
        annotations=ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True),
    )
    async def release(name: Annotated[str, Field(description="The release, e.g. 40.")]) -> Running:
        return await deployer.release(name)

    return server


if __name__ == "__main__":
    run(build)
