"""`config`: whether the configuration is good, check by check."""

from __future__ import annotations

from collections.abc import Iterator

import click

from rebuilder import config as settings_of
from rebuilder import config_file
from rebuilder.cli.context import Context
from rebuilder.cli.output import as_json, print_line
from rebuilder.config import Settings
from rebuilder.config_file import Bus
from rebuilder.domain.errors import RequestError
from rebuilder.engine import config_check, place_check, site_check
from rebuilder.plugins import Finding
from rebuilder.store import database


@click.group()
def config() -> None:
    """Check the configuration."""


@config.command()
@click.option("--json", "json_", is_flag=True, help="All settings, defaults included, and the checks, as JSON.")
@click.option("--online", is_flag=True,
              help="Ask the services, too: database, broker, Koji, OSBS; credentials, tags, targets.")
@click.pass_obj
def check(context: Context, json_: bool, online: bool) -> int:
    """Whether the configuration is good, check by check: keys, files, folders, names of hosts, what the builder needs.

    Changes nothing. The exit status is 2 where the configuration is wrong, and 1 where a service says so.
    """
    origin = config_file.origin(context.path)
    findings = [Finding(str(origin))]
    if origin.path is not None:
        findings += config_check.of_file(origin.path)
    settings = None if _faulty(findings) else settings_of.load(origin.path)
    bus = config_file.bus(origin.path)
    findings += [config_check.UNCHECKED] if settings is None else config_check.of_settings(settings, bus)
    online_findings = list(_online(settings, bus)) if settings is not None and online and not _faulty(findings) else []
    _print_findings(findings + online_findings, settings, json_)
    if faulty := _faulty(findings):
        more = f" (and {len(faulty) - 1} more)" if len(faulty) > 1 else ""
        raise RequestError(f"{origin.path or 'defaults'}: {faulty[0].about}: {faulty[0].fault}{more}")
    return int(bool(_faulty(online_findings)))


def _print_findings(findings: list[Finding], settings: Settings | None, json_: bool) -> None:
    if json_:
        values = settings.model_dump(mode="json") if settings is not None else {}
        as_json({**values, "checks": [_check(finding) for finding in findings]})
        return
    for finding in findings:
        print_line(_verdict(finding))
    if settings is not None and not _faulty(findings):
        print_line(f"good: builder {settings.builder}, database {database.shown(settings.database)}")


def _check(finding: Finding) -> dict[str, str | bool | None]:
    """`ok` is null for what was not looked at; `fault` then says why."""
    ok = None if finding.unchecked else not finding.fault
    return {"about": finding.about, "ok": ok, "fault": finding.fault or finding.unchecked}


def _verdict(finding: Finding) -> str:
    if finding.unchecked:
        return f"not checked: {finding.about}: {finding.unchecked}"
    return f"wrong: {finding.about}: {finding.fault}" if finding.fault else f"ok: {finding.about}"


def _faulty(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.fault]


def _online(settings: Settings, bus: Bus) -> Iterator[Finding]:
    if not database.is_file(settings.database):
        yield place_check.database_of(settings)
    if bus.configured:
        from rebuilder.web.broker import Broker

        state = Broker(bus).state
        for name, queue in state.queues.items():
            yield Finding(f"queue {name}: {queue.messages} messages, {queue.consumers} consumers")
        yield Finding("broker", state.trouble)
    yield from site_check.online(settings)
