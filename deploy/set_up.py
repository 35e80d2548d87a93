"""Make `.venv` hold exactly what a lock file says; does nothing when it does already.

Standard library alone: this runs before anything is installed. Several shells may run it at once: one works, the
others wait for it. Packages come from wherever pip is configured to take them, and are checked against the hashes
in the lock.
"""

import argparse
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import venv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOCKS = {"runtime": "requirements.lock", "test": "requirements-test.lock"}
TEST_PROGRAMS = {
    "bwrap": "bubblewrap",
    "prometheus": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
}
"""Programs that tests start, and the Debian packages they come in."""
MOST_PARTS = 4
"""How many pips install at once, at most."""
INCLUDES = {"runtime": ("runtime",), "test": ("test", "runtime")}
"""What else is there once a lock is installed: the test lock is made to agree with the other one."""


def main() -> int:
    """Set up what the command line asks for."""
    # Ctrl-C ends this as it ends make and pip: at once, without a traceback. The next run goes on from there.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=LOCKS)
    kind = parser.parse_args().kind
    if installed(kind):
        bring_programs(kind)
        return 0
    with alone():
        if not installed(kind):
            say(f"installing {LOCKS[kind]} into .venv; the first time this takes a minute or two ...")
            pip = make_venv()
            with beside(lambda: bring_programs(kind)):
                install(kind, pip)
            say("done.")
    return 0


def bring_programs(kind: str) -> None:
    """Have what is no Python package where this kind needs it."""
    if kind == "test":
        install_test_programs()


def install(kind: str, pip: Sequence[str]) -> None:
    """Install a lock and the suite itself, and note that it is done."""
    # A lock is whole: pip need not look for more, and must not for what was left out of it on purpose. That also
    # makes its parts independent of each other: one pip keeps one processor busy.
    command = [*pip, "install", "-q", "--no-deps", "--no-compile", "--require-hashes", "-r"]
    with parts(ROOT / LOCKS[kind]) as files:
        run(*([*command, str(file)] for file in files))
    run([*pip, "install", "-q", "--no-deps", "--no-build-isolation", "--editable", str(ROOT)])
    # What cannot be compiled (a template, a test of another Python) is nobody's concern.
    subprocess.run([venv_python(), "-m", "compileall", "-qq", "-j", "0", VENV], cwd=ROOT, check=False)
    for included in INCLUDES[kind]:
        stamp(included).write_text(fingerprint(included), encoding="utf-8")


@contextmanager
def parts(lock: Path) -> Iterator[list[Path]]:
    """Part a lock into files of about equally many packages, as many as there are processors."""
    # A requirement begins at the margin; its hashes are indented.
    requirements = re.findall(r"^\S.*\n(?:[ \t].*\n)*", lock.read_text(encoding="utf-8"), re.MULTILINE)
    count = min(os.cpu_count() or 1, MOST_PARTS)
    with tempfile.TemporaryDirectory(dir=ROOT / ".cache", prefix="lock-") as folder:
        files = [Path(folder, f"{number}.lock") for number in range(count)]
        for number, file in enumerate(files):
            file.write_text("".join(requirements[number::count]), encoding="utf-8")
        yield files


@contextmanager
def beside(work: Callable[[], None]) -> Iterator[None]:
    """Do `work` at the same time, and wait for it: apt mostly waits for the network, and pip computes."""
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def stamp(kind: str) -> Path:
    """Return the file that says what was installed."""
    return VENV / f".installed-{kind}"


def fingerprint(kind: str) -> str:
    """Return a digest of everything the installation depends on."""
    digest = hashlib.sha256(f"{ROOT} {platform.python_version()}".encode())
    for name in (LOCKS[kind], "pyproject.toml"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def installed(kind: str) -> bool:
    """Whether `.venv` is whole and up to date."""
    path = stamp(kind)
    return path.exists() and venv_python().exists() and path.read_text(encoding="utf-8") == fingerprint(kind)


def venv_python() -> Path:
    """Return the environment's interpreter."""
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


@contextmanager
def alone() -> Iterator[None]:
    """Hold a lock among the shells that set up this tree; the system frees it when its holder dies."""
    path = ROOT / ".cache" / "set_up.lock"
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as file:
        if os.name != "nt":
            import fcntl  # there is none on Windows

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def make_venv() -> Sequence[str]:
    """Make the environment where it is missing or broken, and return the pip command for it."""
    python = venv_python()
    if VENV.exists() and not works(python):
        shutil.rmtree(VENV)
    if not VENV.exists():
        if not has("ensurepip") and not has("pip"):
            install_venv_package()
        # Debian splits ensurepip off; a pip outside installs into an environment just as well.
        venv.create(VENV, with_pip=has("ensurepip"), symlinks=os.name != "nt")
    if subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0:
        return (str(python), "-m", "pip")
    return (sys.executable, "-m", "pip", "--python", str(python))


def works(python: Path) -> bool:
    """Whether the interpreter starts and is new enough."""
    check = "import sys; sys.exit(sys.version_info < (3, 11))"
    try:
        return subprocess.run([python, "-c", check], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def has(module: str) -> bool:
    """Whether this interpreter has a module; asked afresh, since apt may just have brought it."""
    importlib.invalidate_caches()
    return importlib.util.find_spec(module) is not None


def install_venv_package() -> None:
    """Have apt bring what makes virtual environments, or say what is to be done."""
    package = "python3-venv"
    if shutil.which("apt-get"):
        say(f"this Python cannot make virtual environments; installing {package} with apt ...")
        apt_install(package)
    if not has("ensurepip"):
        sys.exit(f"Error: {sys.executable} can make no virtual environment. Install {package}, then try again.")


def install_test_programs() -> None:
    """Have apt bring the programs that tests start; what does not come is named, with what is left out."""
    missing = {program: package for program, package in TEST_PROGRAMS.items() if shutil.which(program) is None}
    if not missing or not sys.platform.startswith("linux"):
        return
    if shutil.which("apt-get"):
        say(f"installing {', '.join(missing.values())} with apt, for the tests ...")
        apt_install(*missing.values())
    for program, package in missing.items():
        if shutil.which(program) is None:
            say(
                f"{package} is not here: what tests it fails or is left out. Install it with your package manager."
            )


def apt_install(*packages: str) -> None:
    """Install Debian packages; whoever needs them looks whether they came."""
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    subprocess.run([*sudo, "apt-get", "update", "-qq"], check=False)
    install = [*sudo, "apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    subprocess.run(
        install, check=False, stdout=subprocess.DEVNULL, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    )


def run(*commands: Sequence[str]) -> None:
    """Run commands at once; their own words are the error."""
    started = [subprocess.Popen(command, cwd=ROOT) for command in commands]
    ended = [process.wait() for process in started]
    if any(ended):
        sys.exit("Error: setting up failed; pip says why above.")


def say(text: str) -> None:
    """Write a remark."""
    sys.stderr.write(f"set up: {text}\n")


if __name__ == "__main__":
    sys.exit(main())
