"""A running hub, as the wire and people see it."""

from collections.abc import Awaitable, Callable

from quantum_suite.core.engines import EngineStatus
from quantum_suite.core.errors import SuiteError
from quantum_suite.core.principals import Principal
from quantum_suite.hub.access.authenticator import Authenticator
from quantum_suite.hub.call import Call, Credentials, Handler, Json, Session
from quantum_suite.hub.following import Following
from quantum_suite.hub.hooks import Hooks
from quantum_suite.hub.metrics import Metrics
from quantum_suite.hub.mounts import Mounts
from quantum_suite.hub.pipeline.errors import as_rpc_error
from quantum_suite.hub.registry import Registry
from quantum_suite.hub.router import session_key
from quantum_suite.hub.status import ConfigStatus, UpstreamStatus
from quantum_suite.services.workflows.interface import Workflows


class Gateway:
    """A running hub: what the wire talks to, and what people ask about."""

    def __init__(
        self,
        answer: Handler,
        registry: Registry,
        following: Following,
        authenticator: Authenticator,
        mounts: Mounts,
        metrics: Metrics,
        configuration: Callable[[], ConfigStatus],
        open_workflows: Callable[[], Awaitable[Workflows]],
        hooks: Hooks,
    ) -> None:
        self._answer = answer
        self._registry = registry
        self._following = following
        self._authenticator = authenticator
        self._mounts = mounts
        self.metrics = metrics
        self.hooks = hooks
        self._configuration = configuration
        self._open_workflows = open_workflows
        self.draining = False
        """Whether the hub takes no new call because it is about to end."""

    async def handle(self, call: Call) -> Json:
        """Answer one request."""
        return await self._answer(call)

    async def authenticate(self, credentials: Credentials) -> Principal:
        """Say who is there."""
        try:
            return await self._authenticator.authenticate(credentials)
        except SuiteError as error:
            raise as_rpc_error(error) from error

    def session_opened(self, session: Session) -> None:
        """Start telling the session of changes."""
        self._following.session_opened(session)

    async def session_notified(self, session: Session, method: str, params: Json) -> None:
        """Pass on what upstreams should know; `notifications/initialized` ends here."""
        if method == "notifications/initialized":
            session.initialized = True
        elif method == "notifications/roots/list_changed":
            for upstream in self._registry.upstreams():
                await upstream.notify(session_key(session), method, params)

    async def session_closed(self, session: Session) -> None:
        """Forget the session."""
        self._following.session_closed(session)

    async def work(self) -> None:
        """Take on queued runs from now on, wherever they were started."""
        await self._open_workflows()

    def statuses(self) -> list[UpstreamStatus]:
        """Return how every upstream stands."""
        return self._registry.statuses()

    def configuration(self) -> ConfigStatus:
        """Return how the configuration file stands."""
        return self._configuration()

    def engines(self) -> dict[str, list[EngineStatus]]:
        """Return the engines each module can use here. Takes as long as their version queries."""
        return self._mounts.engines()

    def end_streams(self) -> None:
        """Tell everybody who listens that the hub is going."""
        self.draining = True
        self._following.end()
