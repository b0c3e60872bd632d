"""`simulate`."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import click

from rebuilder.cli.context import Context
from rebuilder.cli.output import as_json, json_option, table
from rebuilder.cli.plans import descendants_option, document_option, draft_for, update_options
from rebuilder.config import SimulatedSettings
from rebuilder.domain.change import Severity
from rebuilder.domain.simulation import Policy, Simulation
from rebuilder.domain.simulation import simulate as simulated
from rebuilder.domain.times import format_duration
from rebuilder.engine.plan_preview import AskedUpdates

CALLS = ("submit", "call", "result")


@click.command()
@update_options(required=True)
@document_option
@descendants_option
@click.option("--slots", type=click.IntRange(1), help="Builds at the same time; default: max_builds.")
@click.option("--policy", type=click.Choice([str(policy) for policy in Policy]),
              help="Which build starts next. Default: critical-path in JSON, all three in the table.")
@click.option("--noise", type=click.FloatRange(0, 5), default=0.0, show_default=True, metavar="SIGMA",
              help="How far build times vary around their estimates: the sigma of a lognormal factor.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random numbers of --noise.")
@click.option("--latency", callback=lambda _context, _option, text: _latency(text), metavar="WORDS",
              help="What calls to the builder take, as submit=2,call=0.3,result=4 in seconds. Default: "
                   "those of consumer_config.simulated. They count as work, also in the shortest possible time.")
@json_option
@click.pass_obj
def simulate(
    context: Context,
    updates: tuple[str, ...],
    stream: str | None,
    severity: str,
    document: Path | None,
    descendants: str | None,
    slots: int | None,
    policy: str | None,
    noise: float,
    seed: int,
    latency: dict[str, float],
    json_: bool,
) -> None:
    """How long an update's rebuilds would take, and the shortest possible time. Changes nothing."""
    settings = context.settings.with_descendants(descendants)
    draft = draft_for(context, AskedUpdates(updates, stream, Severity(severity)), document, settings)
    each = _calls_of_a_build(settings.simulated, latency)
    jobs = draft.plan.jobs({image: seconds + each for image, seconds in draft.seconds.items()})
    severities = [rebuild.severity for rebuild in draft.plan.rebuilds]
    policies = _policies(policy, json_)
    dice = random.Random(seed)
    factors = [dice.lognormvariate(0.0, noise) for _ in draft.plan.rebuilds]
    done = [simulated(jobs, severities, slots or settings.slots, rule, factors) for rule in policies]
    if json_:
        as_json(_written(done[0]))
        return
    table(
        ("policy", "builds", "slots", "takes", "at least", "ratio"),
        [
            (d.policy, d.builds, d.slots, *map(format_duration, (d.makespan_s, d.lower_bound_s)), f"{d.ratio:.3f}")
            for d in done
        ],
    )


def _policies(given: str | None, json_: bool) -> list[Policy]:
    if given:
        return [Policy(given)]
    return [Policy.CRITICAL_PATH] if json_ else list(Policy)


def _latency(text: str | None) -> dict[str, float]:
    """The seconds of each call that the option names."""
    latencies: dict[str, float] = {}
    for word in filter(None, (text or "").split(",")):
        name, _, seconds = word.partition("=")
        if name not in CALLS or not seconds.replace(".", "", 1).isdecimal():
            raise click.BadParameter(f"{word!r}: use {', '.join(f'{call}=SECONDS' for call in CALLS)}")
        latencies[name] = float(seconds)
    return latencies


def _calls_of_a_build(settings: SimulatedSettings, latency: Mapping[str, float]) -> float:
    """Seconds that a build waits for calls: its submission, the poll that sees its end, and its result."""
    configured = {
        "submit": settings.submit_seconds, "call": settings.call_seconds, "result": settings.result_seconds,
    }  # fmt: skip
    return sum(({**configured, **latency}).values())


def _written(done: Simulation) -> dict[str, object]:
    return {"makespan_s": done.makespan_s, "lower_bound_s": done.lower_bound_s, "ratio": done.ratio,
            "builds": done.builds, "slots": done.slots, "policy": str(done.policy)}
