"""An engine with a simulated builder and a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any

from msgspec import Struct
from sqlalchemy import Engine, select

from consumers.topics import parse
from rebuilder.builders.simulated import ManifestOf, SimulatedBuilder
from rebuilder.config import Settings, SimulatedSettings
from rebuilder.domain.build import BuildRejected, BuildRequest, Status, Submission
from rebuilder.domain.errors import InfrastructureError, RequestError, UnreachableError
from rebuilder.domain.image import Image, ImageBuild, Inventory, Manifest, Parent, ParentKind, Stream
from rebuilder.domain.message import IncomingMessage
from rebuilder.domain.rpm import Rpm
from rebuilder.engine import factory
from rebuilder.engine.loop import Loop, Runtime
from rebuilder.store import actions, inbox, rebuilds, waves
from rebuilder.store.actions import Verb
from rebuilder.store.database import reading
from rebuilder.store.models import Rebuild, Transition, Wave
from rebuilder.store.sync import save_inventory

ANSWERED = (InfrastructureError, BuildRejected, RequestError, UnreachableError)  # what calls may raise
SSL = "openssl-libs-1:3.2.1-1.fc42.x86_64"
BASH = "bash-5.2-1.fc42.x86_64"


Given = tuple[Image, ImageBuild | None]


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class LoopClock:
    """Both of the engine's clocks show the time of the test's, unless the wall's is `set` ahead or back of it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.set = 0.0

    def now(self) -> float:
        return self._clock.now + self.set

    def monotonic(self) -> float:
        return self._clock.now


class AtOnce(Executor):
    """Makes each call where it is started: its answer is there in the next pass."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except ANSWERED as error:  # any other is the end of the process
            future.set_exception(error)
        return future


class Held(Struct):
    """A call that the test holds. What it does at the builder, and its answer, are two moments."""

    future: Future[Any]
    call: Callable[[], Any]
    outcome: tuple[Any, Exception | None] | None = None

    @property
    def name(self) -> str:
        """The method that is called."""
        call: Any = self.call
        while isinstance(call, partial):
            call = call.func
        return str(call.__name__)

    def arrive(self) -> None:
        """The builder gets the request, and does what it says."""
        if self.outcome is None:
            try:
                self.outcome = self.call(), None
            except ANSWERED as error:
                self.outcome = None, error

    def answer(self) -> None:
        """The engine gets the answer."""
        self.arrive()
        assert self.outcome is not None
        value, error = self.outcome
        if error is None:
            self.future.set_result(value)
        else:
            self.future.set_exception(error)


class Holding(Executor):
    """Keeps every call until the test lets it go on: in any order, late, or never."""

    def __init__(self) -> None:
        self.held: list[Held] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        held = Held(Future(), partial(fn, *args, **kwargs))
        self.held.append(held)
        return held.future

    def answer(self, at: int = 0) -> None:
        """Let one call be answered."""
        self.held.pop(at).answer()

    def named(self, name: str) -> list[Held]:
        """The calls of a method that are held."""
        return [held for held in self.held if held.name == name]

    def let(self, *names: str) -> int:
        """Answer the calls of these methods that are held now; how many there were."""
        answered = [held for held in self.held if held.name in names]
        for held in answered:
            self.held.remove(held)
            held.answer()
        return len(answered)


class Builder(SimulatedBuilder):
    """Writes down what it was asked; `before` and `after` are called around every call, to make trouble."""

    def __init__(self, settings: SimulatedSettings, manifest_of: ManifestOf, clock: Clock) -> None:
        super().__init__(settings, manifest_of, clock, monotonic=clock)
        self.clock = clock
        self.submitted: list[tuple[str, float]] = []
        self.twice: list[str] = []
        self.before: Callable[[str], None] = lambda call: None
        self.after: Callable[[str], None] = lambda call: None

    def submit(self, order: BuildRequest) -> Submission:
        self.before("submit")
        self.twice += [order.key] if order.key in self.builds else []
        found = super().submit(order)
        self.submitted.append((order.image.key, self.clock.now))
        self.after("submit")
        return found

    def find(self, keys: Sequence[str]) -> Mapping[str, Submission]:
        self.before("find")
        return super().find(keys)

    def poll(self, refs: Sequence[str]) -> Mapping[str, Status]:
        self.before("poll")
        return super().poll(refs)

    def result(self, ref: str) -> ImageBuild:
        self.before("result")
        return super().result(ref)

    def cancel(self, ref: str) -> None:
        self.before("cancel")
        super().cancel(ref)


def image(name: str, *parents: str, rpms: Sequence[str] | None = (SSL,), seconds: float = 10) -> Given:
    above = tuple(Parent(ParentKind.BASE if at == 0 else ParentKind.STAGE, f"{p}:f42") for at, p in enumerate(parents))
    found = Image(name, "f42", above, estimate=seconds)
    if rpms is None:
        return found, None
    content = Manifest.of(Rpm.parse(rpm, "openssl" if rpm.startswith("openssl-") else "") for rpm in rpms)
    return found, ImageBuild(found.key, "first", content)


CHAIN = (image("base"), image("mid", "base"), image("app", "mid"), image("alone"))


class Workbench:
    """A database with images, a builder, and an engine on both."""

    def __init__(self, store: Engine, images: Sequence[Given] = CHAIN, **settings: Any) -> None:
        self.store = store
        self.settings = Settings(**{"settle_seconds": 0, "retry_seconds": 10, **settings})
        self.clock = Clock()
        builds = tuple(build for _, build in images if build is not None)
        with store.begin() as connection:
            whole = Inventory(tuple(image for image, _ in images), (Stream("f42", (".fc42",)),), builds)
            save_inventory(connection, whole, self.clock.now)
        self.builder = Builder(self.settings.simulated, self.manifest_of, self.clock)
        self.restart()

    def restart(self, executor: Executor | None = None) -> None:
        """Another engine on the same database and builder: the first one's memory is lost."""
        hub = factory.koji_session_for(self.settings)
        self.executor = executor or AtOnce()
        self.loop = Loop(
            self.store, self.settings, self.builder, parse, hub=hub,
            runtime=Runtime(LoopClock(self.clock), self.executor),
        )  # fmt: skip

    def manifest_of(self, image: str) -> Manifest | None:
        simulated = factory.builder_for(self.store, self.settings)
        assert isinstance(simulated, SimulatedBuilder)
        return simulated._manifest_of(image)

    def tell(self, *nvrs: str, severity: str = "low", ident: str = "") -> None:
        """A Bodhi update of these source builds arrives."""
        body = {
            "update": {
                "alias": "FEDORA-1", "builds": [{"nvr": nvr, "epoch": 0} for nvr in nvrs], "status": "stable",
                "request": None, "release": {"name": "F42"}, "user": {"name": "kasal"}, "severity": severity,
                "type": "security", "content_type": "rpm",
            }
        }  # fmt: skip
        self.receive("bodhi.update.complete.stable", body, ident or f"{nvrs} {severity}")

    def receive(self, topic: str, body: Any, ident: str) -> None:
        inbox.receive(self.store, [IncomingMessage(ident, f"org.fedoraproject.prod.{topic}", {}, body)], self.clock.now)

    def ask(self, verb: str, target: str, who: str = "somebody") -> None:
        """An operator asks the engine for something."""
        with self.store.begin() as connection:
            actions.request(connection, Verb(verb), target, who, "", self.clock.now)

    def approve(self, wave: int, who: str) -> None:
        with self.store.begin() as connection:
            assert waves.approve(connection, wave, who, self.clock.now)

    def passes(self, seconds: float = 0, step: float = 5) -> None:
        """Passes until nothing more can be done now, then for so many seconds more."""
        end = self.clock.now + seconds
        while True:
            while self.loop.once():
                pass
            if self.clock.now >= end:
                return
            self.clock.now += step

    def finish(self, step: float = 5) -> None:
        """Passes until nothing is left to be done."""
        for _ in range(10_000):
            if not self.loop.once():
                if self.loop.idle():
                    return
                self.clock.now += step
        raise AssertionError(f"not idle: {self.states()}")

    def rebuilds(self) -> list[rebuilds.Entry]:
        with reading(self.store) as connection:
            ids = connection.scalars(select(Wave.id).order_by(Wave.id)).all()
            return [entry for ident in ids for entry in rebuilds.of_wave(connection, ident)]

    def states(self) -> list[tuple[str, str]]:
        """Every rebuild there ever was: image and state, in the order of the waves, parents first."""
        return [(entry.image.removesuffix(":f42"), str(entry.state)) for entry in self.rebuilds()]

    def states_of(self, wave: int) -> list[tuple[str, str]]:
        """Those of a wave alone."""
        with reading(self.store) as connection:
            found = rebuilds.of_wave(connection, wave)
        return [(entry.image.removesuffix(":f42"), str(entry.state)) for entry in found]

    def entry(self, name: str) -> rebuilds.Entry:
        (found,) = [entry for entry in self.rebuilds() if entry.image == f"{name}:f42"]
        return found

    def submitted(self) -> list[str]:
        return [image.removesuffix(":f42") for image, _ in self.builder.submitted]

    def installed(self, name: str) -> set[str]:
        content = self.manifest_of(f"{name}:f42")
        return {rpm.nevra for rpm in content.rpms} if content else set()

    def when(self, name: str, state: str) -> float:
        """The moment when the only rebuild of an image came into a state."""
        query = select(Transition.at).join(Rebuild, Rebuild.id == Transition.rebuild_id)
        with reading(self.store) as connection:
            found = connection.scalars(query.where(Rebuild.id == self.entry(name).id, Transition.state == state))
            return float(found.one())
