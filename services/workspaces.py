"""Which directories tools may look at."""

from dataclasses import dataclass
from pathlib import Path

from quantum_suite.core.errors import CallerError
from quantum_suite.core.principals import Principal


@dataclass(frozen=True, slots=True)
class Workspaces:
    """The granted directories, and the check every path argument goes through.

    `roots` hold for every principal that has none of its own. Roots and candidates are compared by their real
    paths, so a link inside a workspace that leads outside is outside.
    """

    roots: tuple[Path, ...]

    def granted(self, principal: Principal) -> tuple[Path, ...]:
        """Return the real paths of the directories `principal` may have tools look at."""
        own = principal.workspaces
        paths = self.roots if own is None else tuple(Path(p) for p in own)
        return tuple(path.expanduser().resolve() for path in paths)

    def resolve(self, path: str, principal: Principal, *, argument: str = "path") -> Path:
        """Return the real path of `path`; raises CallerError when it is missing or outside the grant.

        A relative path is read from the principal's first workspace. Paths outside the grant are refused before
        anything is said about whether they exist.
        """
        if "\0" in path:
            raise CallerError("The path holds a NUL character.", "Give a plain path.", argument=argument)
        roots = self.granted(principal)
        candidate = Path(path).expanduser()
        if not candidate.is_absolute() and roots:
            candidate = roots[0] / candidate
        try:
            real = candidate.resolve()
        except (OSError, RuntimeError) as error:
            raise CallerError(
                f"'{path}' cannot be followed: {error}", "Give a path without link loops.", argument=argument
            ) from error
        if not any(real == root or root in real.parents for root in roots):
            listed = ", ".join(str(root) for root in roots) or "none"
            raise CallerError(
                f"'{path}' is outside the granted workspaces ({listed}).",
                "Grant it with `quantum up --workspace DIR`, or name a path inside a granted one.",
                argument=argument,
            )
        if not real.exists():
            raise CallerError(f"'{path}' does not exist.", "Check the spelling.", argument=argument)
        return real
