"""The configuration that `rebuilder init` writes, with a comment for what one may want to change."""

from __future__ import annotations

import json
from collections.abc import Mapping

from msgspec import Struct

from rebuilder.builders.plugin import BuilderPlugin
from rebuilder.inventory.source import InventorySource

# In a folder of systemd/rebuilder.tmpfiles: services and root look there, whoever's state directory is theirs.
SYSTEM_DATABASE = "sqlite:////var/lib/rebuilder/rebuilder.db"
SIMULATED = "               # builds nothing, and says that it did: to try things out"
# Results of a CI for RPMs' builds in Koji, and for images, as Fedora's CI messages have them.
CI_KEYS = tuple(
    f'    "#.{kind}.test.complete",\n' for kind in ("koji-build", "redhat-container-image", "container-image")
)


class KojiAnswers(Struct, frozen=True):
    """Koji's hub, the tag of the images, and the test that builds wait for."""

    hub: str
    tag: str
    gate_test: str


class Answers(Struct, frozen=True):
    """What the few questions were answered with; empty is "none", as for a broker.

    `name` is that of the source; `more` has what the builder asks for itself.
    """

    name: str
    source: InventorySource
    path: str
    repositories: tuple[str, ...]
    stream: str
    tags: tuple[str, ...]
    dist: str
    bodhi: str
    builder: str
    plugin: BuilderPlugin
    more: Mapping[str, str]
    database: str
    broker: str
    web: str
    koji: KojiAnswers


def rendered(answers: Answers) -> str:
    """The file's text."""
    parts = [_bus(answers), _ours(answers), _inventory(answers), _stream(answers)]
    if answers.koji.hub:
        parts.append(_koji(answers))
    parts.append(answers.plugin.sample(answers.more, system=answers.database == SYSTEM_DATABASE))
    return "\n".join(filter(None, parts))


def _text(value: str) -> str:
    """A string as TOML has it."""
    return json.dumps(value, ensure_ascii=False)


def _texts(values: tuple[str, ...]) -> str:
    return f"[{', '.join(map(_text, values))}]"


def _bus(answers: Answers) -> str:
    head = """\
# Written by `rebuilder init`. The file is fedora-messaging's own; what rebuilder reads is [consumer_config].
# After a change: `rebuilder config check`, and start again what runs.
"""
    if not answers.broker:
        return f"""{head}
# No broker is configured: `rebuilder update NVR` says that an update is out, `rebuilder replay FILE` reads messages.
# Fedora's public one would be
#   amqp_url = "amqps://fedora:@rabbitmq.fedoraproject.org/%2Fpublic_pubsub"
# with its certificates in [tls], and [queues] and [[bindings]] as in the sample config/one-machine.toml.
"""
    return f"""{head}
amqp_url = {_text(answers.broker)}
callback = "consumers:Inbox"

# One message at a time: the inbox writes each durably before the broker forgets it. Both keys are needed.
[qos]
prefetch_size = 0
prefetch_count = 1

[queues.rebuilder]
durable = true
auto_delete = false
exclusive = false

# `rebuilder inbox dead declare` makes the queue for what the broker gives up.
[queues.rebuilder.arguments]
x-queue-type = "quorum"
x-delivery-limit = 20
x-dead-letter-exchange = "rebuilder.dead"
x-dead-letter-strategy = "at-least-once"
x-overflow = "reject-publish"

[[bindings]]
queue = "rebuilder"
exchange = "amq.topic"
routing_keys = [
    "#.bodhi.update.complete.stable",
    "#.bodhi.update.complete.testing",
    "#.bodhi.update.request.unpush",
    "#.bodhi.update.request.obsolete",
    "#.buildsys.tag",
    "#.buildsys.untag",
    "#.buildsys.repo.done",
    "#.buildsys.build.state.change",
{"".join(CI_KEYS) if answers.koji.gate_test else ""}]
"""


def _is_only_watched(answers: Answers) -> bool:
    """Images that are out in the world, and that nothing here can build."""
    return bool(answers.repositories) and answers.plugin.builds_nothing


def _ours(answers: Answers) -> str:
    host, _, port = answers.web.rpartition(":")
    dry_run = f"{'dry_run = true' if _is_only_watched(answers) else '# dry_run = true':<36}"
    return f"""\
[consumer_config]
database_url = {_text(answers.database)}
builder = {_text(answers.builder)}{SIMULATED if answers.plugin.builds_nothing else ""}
# max_builds = 2                    # at the same time
# settle_seconds = 60               # changes that arrive within this are planned together
{dry_run}# plan and go through all the motions, but build and announce nothing

# What is announced on the bus; docs/messages.md has every message.
[consumer_config.notify]
enabled = false

# Status pages, API and metrics: whoever reaches this address may read; orders need a token (`rebuilder token add`).
[consumer_config.web]
host = {_text(host)}
port = {port}
"""


def _inventory(answers: Answers) -> str:
    path = f"path = {_text(answers.path)}\n" if answers.path else ""
    places = f"repositories = {_texts(answers.repositories)}\n" if answers.repositories else ""
    comment = f"# {answers.source.told}\n" if answers.source.told else ""
    stream = f"stream = {_text(answers.stream)}\n" if "stream" in answers.source.asks else ""
    return f"{comment}[consumer_config.inventory]\nsource = {_text(answers.name)}\n{path}{places}{stream}"


def _stream(answers: Answers) -> str:
    lines = [f"[consumer_config.streams.{_text(answers.stream)}]"]
    lines.append(f"dist = {_text(answers.dist)}    # RPMs of other releases do not concern these images")
    lines.append(f"bodhi_releases = [{_text(answers.bodhi)}]" if answers.bodhi else '# bodhi_releases = ["F42"]')
    if answers.tags:
        lines.append(f"tags = {_texts(answers.tags)}                    # the best first")
    if answers.koji.tag:
        lines.append(f"koji_tags = [{_text(answers.koji.tag)}]")
    if answers.plugin.needs_target:
        lines.append(f"koji_target = {_text(answers.stream)}                   # what images are built for: change it")
    if answers.koji.gate_test:
        lines.append("# Each new build waits for this result, or `rebuilder gate IMAGE pass|fail`: docs/delivery.md")
        lines.append(f"gate_test = {_text(answers.koji.gate_test)}")
        lines.append("gate_timeout = 7200                 # seconds without a result, after which somebody is to look")
    return "\n".join(lines) + "\n"


def _koji(answers: Answers) -> str:
    login = """\
login = "gssapi"                    # or "certificate", "password": docs/koji.md
principal = "rebuilder@EXAMPLE.ORG"
keytab = "${CREDENTIALS}/keytab"    # /etc/rebuilder/credentials/keytab, which systemd loads for the service
"""
    return f"[consumer_config.koji]\nhub = {_text(answers.koji.hub)}\n{login if answers.plugin.builds_in_koji else ''}"
