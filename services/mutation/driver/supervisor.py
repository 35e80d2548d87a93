"""The driver's first process: it finds the mutants, starts a server, and outlives it when a mutant kills it."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from quantum_suite.services.mutation.driver import loading, pytest_setup
from quantum_suite.services.mutation.driver.anew_server import AnewServer
from quantum_suite.services.mutation.driver.children import Children
from quantum_suite.services.mutation.driver.compiled import MutatedFile
from quantum_suite.services.mutation.driver.forked import Forked, Told
from quantum_suite.services.mutation.driver.guarded_tree import GuardedTree
from quantum_suite.services.mutation.driver.loading import Switchboard
from quantum_suite.services.mutation.driver.model import Site
from quantum_suite.services.mutation.driver.running import Watcher
from quantum_suite.services.mutation.driver.server import Plan, Server
from quantum_suite.services.mutation.driver.wire import Wire

_MOST_SERVERS = 20
_TRIES = 2


class Supervisor:
    """One mutation run."""

    def __init__(self, request: dict[str, Any], wire: Wire) -> None:
        self.request = request
        self.wire = wire
        self.deadline = time.monotonic() + request["seconds"]
        self.done: set[str] = set()
        self.under_way: set[str] = set()
        self.deaths: dict[str, int] = {}
        self.servers: list[Forked] = []
        self.anew: list[dict[str, Any]] = []
        self.collecting = 1.0
        self.surroundings: dict[str, Any] = {}
        """What is around the project: who judges by importing anew makes use of that."""
        self.ready: Forked | None = None
        """A server for judging by importing anew that makes itself ready while others work."""
        self.without_session = False
        self.outcome = ""

    def run(self) -> None:
        """Judge what was asked for."""
        root = os.path.realpath(self.request["root"])
        pytest_setup.use_project(root, self.request["folder"])
        self.board = Switchboard(self._read_files(root))
        chosen = self._choose()
        self.sites = {site.id: site for site in chosen}
        self.tree = GuardedTree(root)
        self.plan = Plan(chosen, self.deadline)
        self.arguments = pytest_setup.arguments(
            self.request["folder"], self.request["arguments"], self.request["tests"]
        )
        self.ready = self._fork(self._serve_anew)
        servers = 0
        while not self.outcome and servers < _MOST_SERVERS:
            servers += 1
            self._one_server()
        if not self.outcome:
            self.outcome = "stopped"
            self.wire.say("stopped", reason="Mutants ended the process that runs the tests too often.")
        if self.outcome == "served" and self.anew:
            self._judge_anew()
        if self.ready is not None:
            self.ready.end()
        self.wire.say("done")

    # What there is

    def _read_files(self, root: str) -> dict[str, MutatedFile]:
        files: dict[str, MutatedFile] = {}
        number = 1
        for relative in self.request["files"]:
            path = os.path.realpath(os.path.join(root, relative))  # noqa: PTH118 - compared with what imports say
            try:
                with open(path, "rb") as file:  # noqa: PTH123 - the same
                    files[path] = MutatedFile(file.read(), relative, path, number)
            except (SyntaxError, ValueError, OSError, RecursionError) as error:
                self.wire.say("unreadable", path=relative, reason=f"{type(error).__name__}: {error}")
                continue
            number = files[path].walk.next_number
        return files

    def _choose(self) -> list[Site]:
        changed = self.request["changed_lines"]
        sites = [
            site
            for file in self.board.files.values()
            for site in file.sites
            if changed is None
            or any(site.lines[0] <= line <= site.lines[1] for line in changed.get(file.relative, ()))
        ]
        only = self.request["only"]
        if only is not None:
            sites = [site for site in sites if site.id in only]
        generated = len(sites)
        sample = self.request["sample"]
        if sample is not None and sample < generated:
            picked = random.Random(self.request["seed"]).sample(sorted(site.id for site in sites), sample)  # noqa: S311 - no secret
            kept = set(picked)
            sites = [site for site in sites if site.id in kept]
        self.wire.say("generated", count=generated, chosen=len(sites))
        for site in sites:
            self._describe(site)
        return sites

    def _describe(self, site: Site) -> None:
        file = self.board.file_of[site]
        self.wire.say(
            "mutant",
            id=site.id,
            operator=site.operator,
            path=file.relative,
            function=site.function,
            start=file.source.place(site.start),
            end=file.source.place(site.end),
            offsets=[site.start, site.end],
            original=file.source.piece(site.start, site.end),
            replacement=site.replacement,
        )

    # Servers

    def _one_server(self) -> None:
        self.under_way = set()
        self._listen(self._fork(self._serve))
        if not self.outcome:
            self._blame()

    def _fork(self, serve: Callable[[Wire, Told], None]) -> Forked:
        """Fork a server. It gets a wire to speak on, and what it is told."""
        reading, writing = os.pipe()
        told, telling = os.pipe()
        private = [self.wire.descriptor, reading, telling]
        private += [descriptor for server in self.servers for descriptor in server.descriptors]
        pid = os.fork()
        if not pid:
            for descriptor in private:
                os.close(descriptor)
            try:
                os.setsid()
                serve(Wire(writing), Told(told))
            finally:
                os._exit(0)
        os.close(writing)
        os.close(told)
        self.servers.append(Forked(pid, reading, telling))
        return self.servers[-1]

    def _listen(self, server: Forked) -> None:
        """Hear a server until it ends."""
        for event in server.heard():
            self._heard(event)
        self.servers.remove(server)

    def _serve(self, wire: Wire, told: Told) -> None:
        """Be a server. Ends without having said so only when it is killed."""
        told.close()
        children = self._children(wire.descriptor)
        server = Server(self.plan, self.board, self.tree, children, wire, Watcher(brief=True))
        server.watcher.brief = False
        output = os.open(os.path.join(self.request["folder"], "pytest.out"), os.O_CREAT | os.O_RDWR | os.O_TRUNC)  # noqa: PTH118 - a descriptor is wanted
        for descriptor in (1, 2):
            os.dup2(output, descriptor)
        loading.install(self.board)
        try:
            code = int(pytest.main(self.arguments, plugins=[server, server.watcher]))
        except BaseException as error:  # a plugin or a conftest may raise anything
            wire.say("refused", reason=f"pytest could not start: {type(error).__name__}: {error}", tests=[])
            return
        # Here only when it did not come to serving.
        printed = os.pread(output, 1 << 20, max(0, os.fstat(output).st_size - 4000)).decode("utf-8", "replace")
        reason = f"The tests cannot be run: {pytest_setup.describe_exit(code)}."
        wire.say("refused", reason=reason, tests=[], message=printed[-3000:], no_tests=code == 5)

    def _children(self, descriptor: int) -> Children:
        request = self.request
        return Children(
            request["workers"], request["memory_bytes"], request["processes"], request["folder"], [descriptor]
        )

    def _heard(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "begin":
            self.under_way.add(event["id"])
        elif kind == "result":
            self.done.add(event["id"])
            self.under_way.discard(event["id"])
            self._pass_on(event)
        elif kind == "held":
            self.under_way.discard(event["id"])
        elif kind in ("collected", "warm", "anew"):
            self._learned(kind, event)
        elif kind == "without":
            self.without_session = True
            self.outcome = "without"
        elif kind == "served":
            self.outcome = "stopped" if event["stopped"] else "served"
            if event["stopped"]:
                self.wire.say("stopped", reason="The time given was over before every mutant was judged.")
        else:
            if kind == "refused":
                self.outcome = "refused"
            elif kind == "tests":
                self.plan.tests = event["tests"]
                event = {**event, "tests": [{**test, "reached": len(test["reached"])} for test in event["tests"]]}
            self._pass_on(event)

    def _learned(self, kind: str, event: dict[str, Any]) -> None:
        """Take in what one server tells for another."""
        if kind == "collected":
            if not self.surroundings:
                self.surroundings = {"foreign": event["foreign"], "early": event["early"]}
                assert self.ready is not None
                self.ready.tell(self.surroundings)
        elif kind == "warm":
            self.plan.imported, self.plan.patterns = event["imported"], event["patterns"]
        else:
            self.anew.extend(event["jobs"])
            self.collecting = event["collecting"]

    def _pass_on(self, event: dict[str, Any]) -> None:
        self.wire.say(event["event"], **{name: value for name, value in event.items() if name != "event"})

    def _blame(self) -> None:
        """A server ended before its work was done: judge who was under way alone, and who does it again, is it."""
        if time.monotonic() > self.deadline:
            self.outcome = "stopped"
            self.wire.say("stopped", reason="The time given was over before every mutant was judged.")
            return
        suspects = self.under_way - self.done
        if not suspects:
            self.outcome = "refused"
            self.wire.say("refused", reason="The process that runs the tests ended while none was run.", tests=[])
            return
        for ident in suspects:
            self.deaths[ident] = self.deaths.get(ident, 0) + 1
        if len(suspects) == 1:
            (ident,) = suspects
            if self.deaths[ident] > 1:
                self.done.add(ident)
                self.wire.say(
                    "result", id=ident, verdict="killed", killed_by=None, because="ended who ran the tests"
                )
        self.plan.suspects = sorted(suspects - self.done)
        waiting = {job["id"] for job in self.anew}
        self.plan.sites = [site for site in self.plan.sites if site.id not in self.done | waiting]

    # By importing anew

    def _judge_anew(self) -> None:
        """Judge in servers that have not imported the project, and then without one."""
        servers = 0
        while self.anew and servers < _MOST_SERVERS and self.outcome == "served":
            servers += 1
            before = len(self.anew)
            self.outcome = ""
            self.under_way = set()
            self._listen(self._told_jobs())
            self.anew = [job for job in self.anew if job["id"] not in self.done]
            if self.outcome == "without":
                self.outcome = "served"
            elif not self.outcome:
                self._blame_anew()
            elif len(self.anew) == before:
                break

    def _told_jobs(self) -> Forked:
        """Return a server that has been told what is to be judged."""
        server, self.ready = self.ready, None
        if server is None:
            server = self._fork(self._serve_anew)
            server.tell(self.surroundings)
        server.tell(
            {
                "imported": self.plan.imported,
                "patterns": self.plan.patterns,
                "tests": self.plan.tests,
                "collecting": self.collecting,
                "jobs": self.anew,
            }
        )
        return server

    def _serve_anew(self, wire: Wire, told: Told) -> None:
        self.board.probing = False
        server = AnewServer(
            self.board,
            self.tree,
            self._children(wire.descriptor),
            wire,
            told,
            self.sites,
            deadline=self.deadline,
            arguments=self.arguments,
            narrow=not self.request["tests"],
        )
        loading.install(self.board)
        if self.without_session:
            server.serve_alone()
        else:
            server.serve_in_pytest()

    def _blame_anew(self) -> None:
        suspects = self.under_way - self.done
        self.outcome = "served"
        for ident in suspects:
            self.deaths[ident] = self.deaths.get(ident, 0) + 1
            if self.deaths[ident] > _TRIES:
                self.done.add(ident)
                self.wire.say(
                    "result", id=ident, verdict="killed", killed_by=None, because="ended who ran the tests"
                )
        self.anew = [job for job in self.anew if job["id"] not in self.done]
