"""Puts stages around a handler."""

from collections.abc import Awaitable, Sequence

from quantum_suite.hub.call import Call, Handler, Json, Stage


def fold(stages: Sequence[Stage], last: Handler) -> Handler:
    """Return the handler that passes a call through `stages`, the first outermost, to `last`.

    Fold once and keep the result: calling it costs one function call a stage.
    """
    handler = last
    for stage in reversed(stages):
        handler = _around(stage, handler)
    return handler


def _around(stage: Stage, handler: Handler) -> Handler:
    def pass_on(call: Call) -> Awaitable[Json]:
        return stage(call, handler)

    return pass_on
