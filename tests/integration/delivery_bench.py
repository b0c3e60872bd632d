"""A workbench whose builder tests what it built, and names it when it is promoted: from proof to promotion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from integration.workbench import Builder, Workbench, image
from sqlalchemy import Engine

from rebuilder.domain.build import Phase, Status
from rebuilder.domain.checks import TestRequest
from rebuilder.domain.command import Command
from rebuilder.engine import commands
from rebuilder.store import inventory
from rebuilder.store.database import reading

FIX = "openssl-3.2.2-1.fc42"
CHAIN = (image("base"), image("app", "base"), image("alone"))
TESTED: Mapping[str, Any] = {"f42": {"dist": ".fc42", "test": ["true"], "test_timeout": 60}}


class Naming(Builder):
    """Gives its builds names when they are promoted, and runs tests that last until `verdicts` has their answers."""

    names: dict[str, str]
    verdicts: dict[str, Status]
    tests: list[tuple[str, bool]]
    stopped: list[tuple[str, str]]

    def public_name(self, image: str) -> str:
        return f"localhost/{image}"

    def promote(self, image: str, key: str, ident: str) -> None:
        self.before("promote")
        self.names[self.public_name(image)] = ident
        self.after("promote")

    def test(self, request: TestRequest, *, again: bool = False) -> Status:
        self.before("test")
        self.tests.append((request.image.removesuffix(":f42"), again))
        return self.verdicts.get(request.image.removesuffix(":f42"), Status(Phase.RUNNING))

    def stop_test(self, key: str, fault: str = "") -> None:
        self.stopped.append((key, fault))


class Site(Workbench):
    """A workbench with such a builder, and an update that all images take up."""

    builder: Naming

    def __init__(self, store: Engine, **settings: Any) -> None:
        super().__init__(store, CHAIN, max_builds=10, **settings)
        self.builder = Naming(self.settings.simulated, self.manifest_of, self.clock)
        self.builder.names, self.builder.verdicts, self.builder.tests, self.builder.stopped = {}, {}, [], []
        self.restart()
        self.tell(FIX)

    def answer(self, **verdicts: str) -> None:
        """What tests say from now on: nothing is good."""
        told = {name: Status(Phase.FAILED if said else Phase.SUCCEEDED, said) for name, said in verdicts.items()}
        self.builder.verdicts |= told

    def command(self, verb: str, target: str, **more: Any) -> str | None:
        with self.store.begin() as connection:
            return commands.give(connection, Command(verb, target, "ann", **more), self.clock.now).answer

    def gate(self, name: str, *, passed: bool = True, **more: Any) -> str | None:
        return self.command("gate", f"{name}:f42", passed=passed, **more)

    @property
    def names(self) -> set[str]:
        """The images whose names point to new builds."""
        return {name.removeprefix("localhost/").removesuffix(":f42") for name in self.builder.names}

    def current(self) -> set[str]:
        """The images whose current build is not the first any more."""
        with reading(self.store) as connection:
            builds = inventory.current_builds(connection)
        return {key.removesuffix(":f42") for key, build in builds.items() if build.ident != "first"}

    def state(self, name: str) -> str:
        return str(self.entry(name).state)

    def reason(self, name: str) -> str:
        return self.entry(name).reason


@pytest.fixture
def site(store: Engine, request: pytest.FixtureRequest) -> Iterator[Site]:
    yield Site(store, **getattr(request, "param", {"streams": TESTED}))
