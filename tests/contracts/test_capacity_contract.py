"""What places for heavy work guarantee, on every adapter."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from quantum_suite.core.errors import Unavailable
from quantum_suite.services.capacity.files import FileCapacity
from quantum_suite.services.capacity.interface import Capacity
from quantum_suite.services.capacity.memory import MemoryCapacity
from quantum_suite.services.capacity.places import places_for

pytestmark = pytest.mark.anyio

BOUND_SECONDS = 50.0
Open = Callable[[int], Capacity]

HOLDER = """
import sys, anyio
from pathlib import Path
from quantum_suite.services.capacity.files import FileCapacity

async def main():
    async with FileCapacity(Path(sys.argv[1]), 1).place("a mutation run"):
        print("held", flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


@pytest.fixture(params=["memory", "files"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    if request.param == "memory":
        return MemoryCapacity
    return lambda places: FileCapacity(tmp_path / "capacity", places)


async def test_no_more_work_than_places_and_all_of_it_gets_done(opened: Open) -> None:
    capacity = opened(2)
    at_once = most = done = 0

    async def work() -> None:
        nonlocal at_once, most, done
        async with capacity.place("a scan"):
            at_once += 1
            most = max(most, at_once)
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            at_once -= 1
            done += 1

    with anyio.fail_after(BOUND_SECONDS):
        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(work)
    assert (most, done, at_once) == (2, 8, 0)


async def test_places_are_given_in_the_order_of_asking(opened: Open) -> None:
    capacity = opened(1)
    order: list[int] = []

    async def work(number: int) -> None:
        async with capacity.place("a scan"):
            order.append(number)

    with anyio.fail_after(BOUND_SECONDS):
        async with anyio.create_task_group() as group, capacity.place("a build"):
            for number in range(4):
                group.start_soon(work, number)
                for _ in range(5):
                    await anyio.lowlevel.checkpoint()
    assert order == [0, 1, 2, 3]


async def test_who_waits_is_told_what_for_and_who_does_not_is_not(opened: Open) -> None:
    capacity = opened(1)
    heard: list[str] = []

    async def hear(words: str) -> None:
        heard.append(words)

    async def second() -> None:
        async with capacity.place("a scan", hear):
            pass

    with anyio.fail_after(BOUND_SECONDS):
        async with anyio.create_task_group() as group, capacity.place("a build", hear):
            assert heard == []
            group.start_soon(second)
            while not heard:
                await anyio.lowlevel.checkpoint()
    assert heard == ["waiting: this machine has 1 place for heavy work, taken by a build"]


async def test_a_place_is_free_again_after_an_error_and_after_a_cancellation(opened: Open) -> None:
    capacity = opened(1)
    with pytest.raises(ZeroDivisionError):
        async with capacity.place("a scan"):
            raise ZeroDivisionError
    with anyio.move_on_after(0):
        async with capacity.place("a scan"):
            await anyio.sleep_forever()
    async with capacity.place("a build"):
        with anyio.move_on_after(0.2):
            async with capacity.place("a scan"):
                pytest.fail("there was none")
    with anyio.fail_after(BOUND_SECONDS):
        async with capacity.place("a scan"):
            pass


async def test_a_place_of_a_killed_process_is_free_again(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    with holder.stdout as stdout:
        assert stdout.readline() == b"held\n"
        capacity = FileCapacity(tmp_path, 1)
        heard: list[str] = []

        async def hear(words: str) -> None:
            heard.append(words)
            holder.send_signal(signal.SIGKILL)

        with anyio.fail_after(BOUND_SECONDS):
            async with capacity.place("a scan", hear):
                pass
    holder.wait()
    assert heard == ["waiting: this machine has 1 place for heavy work, taken by a mutation run"]


async def test_children_of_the_holder_do_not_keep_its_place(tmp_path: Path) -> None:
    capacity = FileCapacity(tmp_path, 1)
    async with capacity.place("a scan"):
        child = subprocess.Popen(["sleep", "60"])
    try:
        with anyio.fail_after(BOUND_SECONDS):
            async with FileCapacity(tmp_path, 1).place("a build"):
                pass
    finally:
        child.kill()
        child.wait()


async def test_a_folder_that_cannot_be_used_is_said_clearly(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match=r"cannot be kept in .*: Not a directory"):
        async with FileCapacity(tmp_path / "file" / "capacity", 1).place("a scan"):
            pass


def test_there_is_one_place_a_core_as_long_as_memory_lasts() -> None:
    gibibyte = 1024**3
    assert places_for(8, 64 * gibibyte) == 8
    assert places_for(8, 5 * gibibyte) == 2
    assert places_for(1, gibibyte // 2) == 1
    assert 1 <= places_for() <= len(os.sched_getaffinity(0))
