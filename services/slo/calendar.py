"""When periods of a calendar begin and end."""

from datetime import UTC, datetime, timedelta

from quantum_suite.services.slo.interface import CalendarWindow

_MONTHS = {"M": 1, "Q": 3, "Y": 12}
_LENGTHS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_LAST_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def period_at(calendar: CalendarWindow, at: float) -> tuple[float, float]:
    """Return begin and end, in Unix seconds, of the period that holds a time.

    Days, weeks and months are counted on the wall clock of the calendar's zone, so that a period still begins at
    its hour after clocks change. Before the first period, the ones before it are counted backwards.
    """
    moment = datetime.fromtimestamp(at, UTC).astimezone(calendar.start.tzinfo)
    index = _guess(calendar, moment)
    while _begin(calendar, index).timestamp() > at:
        index -= 1
    while _begin(calendar, index + 1).timestamp() <= at:
        index += 1
    return _begin(calendar, index).timestamp(), _begin(calendar, index + 1).timestamp()


def _guess(calendar: CalendarWindow, moment: datetime) -> int:
    """Return about which period it is."""
    if calendar.unit in _MONTHS:
        months = (moment.year - calendar.start.year) * 12 + moment.month - calendar.start.month
        return months // (_MONTHS[calendar.unit] * calendar.count)
    return int((moment - calendar.start) / (_LENGTHS[calendar.unit] * calendar.count))


def _begin(calendar: CalendarWindow, index: int) -> datetime:
    start = calendar.start
    if calendar.unit not in _MONTHS:
        # Arithmetic on a time with a zone is arithmetic on its wall clock.
        return start + _LENGTHS[calendar.unit] * (calendar.count * index)
    months = start.year * 12 + start.month - 1 + _MONTHS[calendar.unit] * calendar.count * index
    year, month = divmod(months, 12)
    leap = month == 1 and (year % 4 == 0 and (year % 100 != 0 or year % 400 == 0))
    return start.replace(year=year, month=month + 1, day=min(start.day, _LAST_DAYS[month] + leap))
