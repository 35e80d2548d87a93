"""`crash_hub.py` with a clock that SIGUSR1 sets back by so many seconds: `crash_clocked.py SECONDS`."""

import sys

from reference import crash_clock

crash_clock.install(int(sys.argv[1]))

from reference import crash_hub  # noqa: E402  # what is imported now sees that clock

if __name__ == "__main__":
    crash_hub.main()
