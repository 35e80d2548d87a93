"""Runs a Pulumi program against an engine; started by path in the program's own interpreter, 3.9 among them.

The order comes by standard input, because it holds the configuration's secrets: JSON with monitor, engine,
project, stack, organization, dry_run, parallel, folder, main, config and secret_keys.
"""

import asyncio
import json
import os
import runpy
import sys
import traceback
from pathlib import Path
from typing import Any

_FAILED = 1
_NO_SDK = 33


def _configure(order: "dict[str, Any]") -> None:
    import pulumi
    import pulumi.runtime

    pulumi.runtime.set_all_config(order["config"], order["secret_keys"])
    pulumi.runtime.configure(
        pulumi.runtime.Settings(
            monitor=order["monitor"],
            engine=order["engine"],
            project=order["project"],
            stack=order["stack"],
            parallel=order["parallel"],
            dry_run=order["dry_run"],
            organization=order["organization"],
            root_directory=order["folder"],
        )
    )


def _run(order: "dict[str, Any]") -> None:
    from pulumi.runtime.stack import run_in_stack

    os.chdir(order["folder"])
    main = Path(order["folder"], order["main"])
    sys.path.insert(0, str(main if main.is_dir() else main.parent))

    def program() -> None:
        runpy.run_path(str(main), run_name="__main__")

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(run_in_stack(program))


def main() -> int:
    """Run; the status says whether the program went well."""
    order = json.load(sys.stdin)
    try:
        import pulumi
    except ImportError:
        sys.stderr.write("The interpreter of the program has no pulumi package.\n")
        return _NO_SDK
    _configure(order)
    try:
        _run(order)
    except pulumi.RunError as error:
        sys.stderr.write(f"{error}\n")
        return _FAILED
    except Exception:
        traceback.print_exc()
        return _FAILED
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of the program's must not keep it alive: everything it registered has been answered.
    os._exit(status)
