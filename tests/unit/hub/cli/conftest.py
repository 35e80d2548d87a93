"""What the command's tests share: the command run in this process, and a real server to talk to."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commandline.running import Quantum, Ran

from quantum_suite.hub.cli.main import main

REFERENCE = Path(__file__).resolve().parents[3] / "reference" / "server.py"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's home directory, in use and otherwise empty."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name in ("QUANTUM_URL", "QUANTUM_KEY", "QUANTUM_DEBUG", "QUANTUM_DATA_DIR", "CLAUDE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / ".config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / ".local/share"))
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def quantum(home: Path, capfd: pytest.CaptureFixture[str]) -> Quantum:
    """Run `quantum ARGUMENTS` in this process."""

    def run(*arguments: str) -> Ran:
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        out, err = capfd.readouterr()
        return Ran(int(caught.value.code or 0), out, err)

    return run


@pytest.fixture(scope="session")
def reference_url() -> Iterator[str]:
    """A real MCP server over HTTP: the reference server of these tests."""
    command = [sys.executable, str(REFERENCE), "--http", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()
