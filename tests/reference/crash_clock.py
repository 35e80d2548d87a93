"""A clock that can be set back, for one process: imported before all else, it stands between Python and time.

What the machine's clock shows is changed where Python asks for it: `time.time`, `time.time_ns` and `datetime`.
Clocks that nobody can set (monotonic ones), and those of servers, stay as they are.
"""

import datetime as _module
import signal
import time
from types import FrameType
from typing import Any

_real_time, _real_time_ns, _real = time.time, time.time_ns, _module.datetime
_NANOSECONDS = 1_000_000_000


class _Offset:
    seconds = 0


class _Type(type):
    """Has real times count as times of the class that stands in for theirs."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _real)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, _real)


class _Shown(_real, metaclass=_Type):
    """Stands in for `datetime`; whatever it makes is a real one."""

    __slots__ = ()

    def __new__(cls, *arguments: Any, **named: Any) -> Any:
        return _real(*arguments, **named)

    @classmethod
    def now(cls, tz: _module.tzinfo | None = None) -> Any:
        return _real.now(tz) + _module.timedelta(seconds=_Offset.seconds)

    @classmethod
    def utcnow(cls) -> Any:
        return _real.now(_module.UTC).replace(tzinfo=None) + _module.timedelta(seconds=_Offset.seconds)


def install(back_by: int) -> None:
    """Show the real time, and from SIGUSR1 on one that is earlier by so many seconds."""

    def set_back(_number: int, _frame: FrameType | None) -> None:
        _Offset.seconds = -back_by

    time.time = lambda: _real_time() + _Offset.seconds
    time.time_ns = lambda: _real_time_ns() + _Offset.seconds * _NANOSECONDS
    _module.datetime = _Shown  # type: ignore[misc]  # the name is to mean another class from now on
    signal.signal(signal.SIGUSR1, set_back)
