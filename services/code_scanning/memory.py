"""An engine that needs no program: it reports what it is told to. For tests of what surrounds engines."""

from collections.abc import Awaitable, Callable

from quantum_suite.core.engines import EngineStatus
from quantum_suite.core.scans import Scanner
from quantum_suite.services.code_scanning.interface import EngineReport, EngineRequest, StagedFile


async def _nothing(request: EngineRequest) -> EngineReport:
    return EngineReport((), frozenset(file.staged for file in request.files))


class MemoryEngine:
    """Answers every scan with `report(request)`, which may also wait or raise."""

    def __init__(
        self,
        name: str,
        scanners: frozenset[Scanner],
        report: Callable[[EngineRequest], Awaitable[EngineReport]] = _nothing,
        *,
        available: bool = True,
    ) -> None:
        self.name = name
        self.scanners = scanners
        self.requests: list[EngineRequest] = []
        self.available = available
        self._report = report

    def status(self) -> EngineStatus:
        return EngineStatus(
            name=self.name,
            provides="whatever the test says",
            available=self.available,
            version="1.0" if self.available else None,
            problem=None if self.available else f"{self.name} is not installed",
            install_command=None if self.available else f"install {self.name}",
        )

    def wants(self, file: StagedFile, scanners: frozenset[Scanner]) -> bool:
        return not self.scanners.isdisjoint(scanners)

    async def scan(self, request: EngineRequest) -> EngineReport:
        self.requests.append(request)
        return await self._report(request)
