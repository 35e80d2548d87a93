"""Puts the parts of tasks together."""

from collections.abc import Sequence

from anyio.abc import TaskGroup

from quantum_suite.hub.call import Handler, Stage
from quantum_suite.hub.pipeline.task import TaskStage
from quantum_suite.hub.tasks.handles import OpenWorkflows, TaskHandles
from quantum_suite.hub.tasks.methods import TaskMethods
from quantum_suite.hub.tasks.news import TaskNews
from quantum_suite.hub.tasks.policy import TaskPolicy
from quantum_suite.hub.tasks.work import Servers, TaskWork
from quantum_suite.services.workflows.interface import Workflow


class Tasks:
    """Tasks of one hub. `methods` and `news` come first, for the router; `work_through` then, with the router."""

    def __init__(self, workflows: OpenWorkflows, policy: TaskPolicy, background: TaskGroup) -> None:
        """`workflows` is called on first need; the orchestrator it returns must know `definition`."""
        self._policy = policy
        self._handles = TaskHandles(workflows, policy)
        self._work: TaskWork | None = None
        self.news = TaskNews(self._handles, policy, background)
        self.methods: dict[str, Handler] = TaskMethods(self._handles).handlers()

    def work_through(self, stages: Sequence[Stage], servers: Servers) -> TaskStage:
        """Have the work of tasks pass `stages` on its way to `servers`; returns the stage that makes tasks."""
        self._work = TaskWork(stages, servers, most_per_principal=self._policy.most_per_principal)
        return TaskStage(self._handles, self._work, self.news)

    @property
    def definition(self) -> Workflow:
        """What the orchestrator has to know before it is opened: without it, tasks are not taken up again."""
        if self._work is None:
            raise RuntimeError("work_through comes first.")
        return self._work.definition
