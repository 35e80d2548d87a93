"""Files and commands as resources."""

import base64
import sys
from pathlib import Path
from typing import Any

import pytest

from quantum_suite.services.infrastructure.library.commands import CommandFailed, CommandProvider
from quantum_suite.services.infrastructure.library.files import FileProvider


def inputs_of(provider: FileProvider | CommandProvider, **given: Any) -> dict[str, Any]:
    result = provider.check({}, given)
    assert not result.failures, [(one.property, one.reason) for one in result.failures]
    return result.inputs


def test_a_file_has_its_content_and_mode_reads_the_same_and_is_deleted_twice(tmp_path: Path) -> None:
    provider, path = FileProvider(), tmp_path / "below" / "a.conf"
    inputs = inputs_of(provider, path=str(path), content="a = 1\n", mode="600")

    made = provider.create(inputs)

    assert (path.read_text(), path.stat().st_mode & 0o777) == ("a = 1\n", 0o600)
    assert [one.name for one in path.parent.iterdir()] == ["a.conf"]
    assert provider.diff(made.id, made.outs or {}, inputs).changes is False
    assert provider.read(inputs["__identity"], inputs).outs == made.outs
    path.chmod(0o644)
    path.write_text("a = 2\n")
    drifted = provider.read(made.id, made.outs or {}).outs or {}
    assert (drifted["content"], drifted["mode"]) == ("a = 2\n", "0644")
    assert provider.diff(made.id, drifted, inputs).changes is True
    provider.update(made.id, drifted, inputs)
    assert path.read_text() == "a = 1\n"
    provider.delete(made.id, {})
    provider.delete(made.id, {})
    assert provider.read(made.id, inputs).id is None


def test_a_file_of_bytes_is_given_and_read_in_base64(tmp_path: Path) -> None:
    provider, path = FileProvider(), tmp_path / "bytes"
    inputs = inputs_of(provider, path=str(path), base64=base64.b64encode(b"\xff\x00").decode())

    made = provider.create(inputs)

    assert path.read_bytes() == b"\xff\x00"
    assert provider.diff(made.id, made.outs or {}, inputs).changes is False


def test_a_file_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    provider = FileProvider()
    wrong = provider.check({}, {"path": "a", "mode": "rw"}).failures
    both = provider.check({}, {"path": "a", "content": "b", "base64": "Yg=="}).failures

    assert [one.reason for one in wrong] == ["a mode is written in octal digits, as 0644"]
    assert [one.property for one in both] == ["base64"]
    other = inputs_of(provider, path="b")
    assert provider.diff("a", inputs_of(provider, path="a"), other).replaces == ["path"]


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


WRITE = "import os; open('thing', 'w').write(os.environ.get('MARK', '')); print('thing-1')"
READ = "import os, sys; sys.exit(3) if not os.path.exists('thing') else print(open('thing').read())"
DELETE = "import os; os.remove('thing'); print(os.environ['RESOURCE_ID'])"


def test_commands_make_read_and_delete_a_thing(tmp_path: Path) -> None:
    provider = CommandProvider()
    inputs = inputs_of(
        provider,
        create_command=python(WRITE),
        read_command=python(READ),
        delete_command=python(DELETE),
        environment={"MARK": "one"},
        directory=str(tmp_path),
        __name="thing",
    )

    made = provider.create(inputs)
    outputs = made.outs or {}

    assert (made.id, outputs["stdout"]) == ("thing-1", "one\n")
    assert provider.diff(made.id, outputs, inputs).changes is False
    (tmp_path / "thing").write_text("two")
    drifted = provider.read(made.id, outputs).outs or {}
    assert drifted["read_stdout"] == "two\n"
    assert provider.diff(made.id, drifted, inputs).changes is True
    triggered = {**inputs, "triggers": ["new"]}
    assert provider.diff(made.id, outputs, triggered).replaces == ["triggers"]
    updating = {**triggered, "update_command": python(WRITE), "environment": {"MARK": "three"}}
    assert provider.diff(made.id, outputs, updating).replaces == []
    assert (provider.update(made.id, outputs, updating).outs or {})["stdout"] == "three\n"
    provider.delete(made.id, outputs)
    assert provider.read(made.id, outputs).id is None


def test_a_command_without_output_is_called_as_its_resource() -> None:
    provider = CommandProvider()
    inputs = inputs_of(provider, create_command=python("pass"), __name="quiet")

    made = provider.create(inputs)

    assert made.id == "quiet"
    assert provider.read("quiet", made.outs or {}).outs == made.outs
    provider.delete("quiet", made.outs or {})


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (python("import sys; sys.exit('it is full')"), "status 1: it is full"),
        (python("import time; time.sleep(60)"), "did not finish within 1 seconds"),
        (["/nonexistent/program"], "/nonexistent/program"),
    ],
)
def test_a_command_that_fails_hangs_or_is_not_there_is_told(command: list[str], told: str) -> None:
    provider = CommandProvider()
    with pytest.raises(CommandFailed, match=told):
        provider.create(inputs_of(provider, create_command=command, timeout_seconds=1, __name="x"))


def test_a_command_that_is_no_list_of_texts_is_refused() -> None:
    wrong = CommandProvider().check({}, {"create_command": "rm -rf /", "timeout_seconds": 0}).failures

    assert {one.property for one in wrong} == {"create_command", "timeout_seconds"}
