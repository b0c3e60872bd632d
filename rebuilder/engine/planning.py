"""From settled changes to a wave."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct, field
from msgspec.structs import replace
from sqlalchemy import Connection

from rebuilder.config import Settings
from rebuilder.domain.change import Change
from rebuilder.domain.external import ExternalImage
from rebuilder.domain.graph import Graph
from rebuilder.domain.image import Stream
from rebuilder.domain.impact import InstalledPackages, PlanOptions
from rebuilder.domain.plan import Draft, Plan, make_plan, plan_by_hand
from rebuilder.domain.policy import Action
from rebuilder.domain.rpm import Rpm
from rebuilder.domain.schedule import durations, lower_bound
from rebuilder.engine import ingest
from rebuilder.store import (
    build_durations,
    changes,
    counters,
    holds,
    installed_packages,
    inventory,
    pending_changes,
    plan_acceptance,
    rebuild_progress,
    rebuilds,
    waves,
)
from rebuilder.store.changes import StoredChange


class Assumptions(Struct, frozen=True):
    """What a draft takes for given. With `approved` no rule requires approval.

    `left_out` has images that are treated as if they were on hold, each with the reason. `parent` is an external parent
    as it is to be taken, in place of what is known of it.
    """

    approved: bool = False
    left_out: Mapping[str, str] = field(default_factory=dict)
    parent: ExternalImage | None = None


NONE = Assumptions()


def draft(
    connection: Connection, accepted: Iterable[Change], settings: Settings, now: float, given: Assumptions = NONE
) -> Draft:
    """What accepting these changes would do. Changes nothing."""
    accepted = tuple(accepted)
    terms = _terms(connection, settings, now, given)
    carried = installed_packages.carried(connection, {change.build.name for change in accepted})
    if given.parent is not None:
        carried = replace(carried, externals={**carried.externals, given.parent.spec: given.parent})
    graph = _graph(connection, carried, terms)
    seconds = _seconds(connection, graph)
    plan = make_plan(graph, carried, accepted, terms, slots=settings.slots, seconds=seconds)
    beyond = inventory.count(connection) - len(graph)
    return Draft(replace(plan, untouched=plan.untouched + beyond), seconds)


def _terms(connection: Connection, settings: Settings, now: float, given: Assumptions) -> PlanOptions:
    held = {image: str(hold) for image, hold in holds.held(connection, now).items()}
    terms = settings.terms({**held, **given.left_out})
    if not given.approved:
        return terms
    agreed = (replace(r, action=Action.ALLOW) if r.action is Action.APPROVE else r for r in terms.rules)
    return replace(terms, rules=tuple(agreed))


def _graph(connection: Connection, carried: InstalledPackages, terms: PlanOptions) -> Graph:
    """The images that the plan is about: those that carry the packages or may, unless others follow their parents."""
    if terms.descendants == "all" or terms.stage_parents == "propagate":
        return inventory.load(connection)
    return inventory.subgraph(connection, carried.rpms.keys() | carried.unknown)


def _seconds(connection: Connection, graph: Graph) -> dict[str, float]:
    measured = build_durations.measured(connection, graph.keys)
    if any(not image.estimate and image.key not in measured for image in graph.images):
        measured = build_durations.measured(connection)  # builds of their streams have a typical time
    return durations(graph.images, measured)


def draft_by_hand(
    connection: Connection, graph: Graph, images: Sequence[str], settings: Settings, *, below: bool,
    unbuilt: Collection[str] = (),
) -> Draft:
    """The plan to rebuild these images for no change's sake, and with `below` all that is built on them.

    `graph` is the whole inventory, and `unbuilt` as in plan_by_hand. Raises RequestError for an unknown image.
    """
    seconds = durations(graph.images, build_durations.measured(connection))
    plan = plan_by_hand(graph, images, below, slots=settings.slots, seconds=seconds, unbuilt=unbuilt)
    return Draft(plan, seconds)


def settle(connection: Connection, settings: Settings, now: float) -> bool:
    """Plan the changes that have settled; whether there were any.

    What a rule wants to be approved becomes a wave of its own that waits; the rest does not wait for it.
    """
    noticed = pending_changes.settled(
        connection, now, settings.settle_seconds, settings.repo_seconds, resolved=bool(settings.koji.hub)
    )
    if not noticed:
        return False
    drafted = draft(connection, (item.change for item in noticed), settings, now)
    waiting = _unapproved(noticed, drafted.plan)
    rest = [item for item in noticed if item not in waiting]
    if waiting:
        waves.propose(connection, [item.id for item in waiting], _rules_of(drafted.plan), now)
        drafted = draft(connection, (item.change for item in rest), settings, now)
    _accept(connection, drafted, rest, now)
    changes.planned(connection, [item.id for item in noticed])
    return True


def catch_up(connection: Connection, settings: Settings, now: float) -> int | None:
    """Plan what no plan has taken up though it should: the id of the wave, or None where nothing was missed.

    That is what was on hold, what another engine's rules left out, or what got an old build from elsewhere. What is
    being rebuilt, and what failed and waits for an operator, is left to that; so is what needs approval.
    """
    stored = _still_wanted(connection, changes.taken_up(connection), settings)
    unsettled = {image: str(state) for image, state in rebuilds.unsettled(connection).items()}
    drafted = _missed(connection, stored, settings, now, unsettled)
    if waiting := _unapproved(stored, drafted.plan):
        stored = [item for item in stored if item not in waiting]
        drafted = _missed(connection, stored, settings, now, unsettled)
    if not drafted.plan.rebuilds:
        return None
    return plan_acceptance.accept(connection, drafted, stored, now)


def _rules_of(plan: Plan) -> str:
    """The rules that were applied to changes, by name."""
    return ", ".join(sorted({applied.rule for applied in plan.applied if applied.change is not None}))


def _unapproved(stored: Iterable[StoredChange], plan: Plan) -> list[StoredChange]:
    """The changes of the packages that the plan's rules want an operator to approve."""
    packages = {(change.build.name, change.stream) for change in plan.unapproved}
    return [item for item in stored if (item.change.build.name, item.change.stream) in packages]


def _still_wanted(connection: Connection, stored: Sequence[StoredChange], settings: Settings) -> list[StoredChange]:
    """The changes of packages of which something older is in use: few, where thousands were taken up before."""
    takes = {stream.name: stream for stream in ingest.known_streams(connection, settings)}
    offers: dict[str, list[Change]] = {}
    for item in stored:
        if item.change.stream in takes:
            offers.setdefault(item.change.build.name, []).append(item.change)
    rpms = installed_packages.rpms_from(connection, offers)
    older = [ident for ident, rpm in rpms.items() if _is_old(rpm, offers[rpm.source], takes)]
    sources = {rpms[ident].source for ident in installed_packages.in_use(connection, older)}
    return [item for item in stored if item.change.build.name in sources]


def _is_old(rpm: Rpm, offers: Iterable[Change], streams: Mapping[str, Stream]) -> bool:
    return any(streams[change.stream].holds(rpm.release) and change.makes_stale(rpm) for change in offers)


def _missed(
    connection: Connection, stored: Iterable[StoredChange], settings: Settings, now: float, unsettled: Mapping[str, str]
) -> Draft:
    return draft(connection, (item.change for item in stored), settings, now, Assumptions(left_out=unsettled))


def begin_approved(connection: Connection, settings: Settings, now: float) -> int:
    """Plan the waves that operators approved, on what the images carry now; how many."""
    wave_ids = waves.approved(connection)
    for wave_id in wave_ids:
        noticed = [item for item in waves.changes_of(connection, wave_id) if not item.withdrawn]
        drafted = draft(connection, (item.change for item in noticed), settings, now, Assumptions(approved=True))
        _accept(connection, drafted, noticed, now, wave_id)
    return len(wave_ids)


def _accept(
    connection: Connection, drafted: Draft, noticed: Sequence[StoredChange], now: float, wave_id: int | None = None
) -> None:
    if drafted.plan.rebuilds or wave_id is not None:
        plan_acceptance.accept(connection, drafted, noticed, now, wave_id)


def record_makespan(connection: Connection, wave_id: int, settings: Settings, now: float) -> None:
    """Keep how long a finished wave took, beside the shortest time that its builds could have taken.

    One in which something was tried again says how long it took somebody to look at it: it is left out.
    """
    jobs = rebuild_progress.jobs_of_wave(connection, wave_id)
    if jobs and not rebuild_progress.was_retried(connection, wave_id):
        took = now - waves.find(connection, wave_id).created_at
        least = lower_bound(jobs, settings.slots)
        counters.add(connection, counters.timed("wave", "makespan", took))
        counters.add(connection, counters.timed("wave", "lower-bound", least))
