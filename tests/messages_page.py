"""Writes `docs/messages.md` from the classes, with the messages of a wave that a real engine drove.

`make docs` runs it as a program; a test says where the page is not what it would write.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from fedora_messaging.message import Message, get_name
from integration.workbench import Workbench, image
from msgspec.structs import replace

from rebuilder import messages
from rebuilder.demo.message import update
from rebuilder.domain.build import BuildRequest, Submission
from rebuilder.domain.image import ImageBuild
from rebuilder.engine import notifications
from rebuilder.messages import RebuilderMessage
from rebuilder.messages.schemas import Schema
from rebuilder.store import database, outbox, rollbacks
from rebuilder.store.database import reading
from rebuilder.store.rollbacks import RequestedRollback

PAGE = Path(__file__).parents[1] / "docs" / "messages.md"
IMAGES = (
    image("base"), image("httpd", "base"), image("web", "httpd"), image("tools", "base", seconds=60),
    image("man", "base", rpms=()), image("howto", "man", rpms=()),
)  # fmt: skip
BEGIN = datetime(2026, 3, 2, 9, 30, 0, tzinfo=UTC).timestamp()
LEVELS = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR"}
HEAD = """\
# Messages

<!-- Written by `make docs` from rebuilder/messages/: do not edit it here. -->

What rebuilder announces on the bus, where `[consumer_config.notify]` says so. The topic of each is preceded by the
`topic_prefix` of the configuration. The classes are in `rebuilder.messages`, which needs fedora-messaging and nothing
else of rebuilder; where the package is installed, `fedora-messaging` finds them by itself.

* **In order**: the messages of one rebuild come in the order in which it went through its states.
* **At least once**: what comes again has the same id and the same body. A message may come late, if the broker was
  away; it tells of the moment when it happened (`at`), whatever happened since.
* **What happened**: a message is written together with the state that it tells of. `submitting` and `waiting` are not
  told.
* **Small**: at most {listed} images, changes or RPMs are named in one message; `rebuilds` and `counts` count all.
* `packages` are the source packages that caused it, `containers` the images, each as `name:stream` and as `name`: rules
  for what somebody owns go by the name. `usernames` are those who asked for it, approved it, or stopped it.
* Later releases may add fields. A change that could break a reader makes a new schema, as `….v2`.
"""


def page() -> str:
    """The whole page."""
    examples = {type(message): message for message in reversed(story())}
    parts = [HEAD.format(listed=messages.LISTED)]
    parts += [_section(kind, examples[kind]) for kind in messages.CLASSES.values()]
    for title, kind in (("a rebuild", messages.ImageSucceededV1), ("a wave", messages.WaveFinishedV1)):
        parts.append("\n".join([f"## Fields of a message about {title}\n", *_rows(kind.body_schema)]) + "\n")
    return "\n".join(parts)


@cache
def story() -> tuple[Message, ...]:
    """All messages of a wave in which everything happens; the same each time."""
    with tempfile.TemporaryDirectory() as folder:
        store = database.ready(f"sqlite:///{folder}/story.db")
        bench = Workbench(
            store, IMAGES, descendants="all", simulated={"failures": ("httpd:f42",)}, notify={"enabled": True},
            streams={"f42": {"dist": ".fc42", "test": ["rpm", "--verify", "--all"]}},
        )
        bench.clock.now = BEGIN
        _with_logs(bench)
        _pushing(bench)
        bench.receive("bodhi.update.complete.stable", update().body, "update")
        bench.passes(20)
        bench.ask("cancel", "tools:f42", "alice")
        bench.finish()
        _roll_back(bench)
        with reading(store) as connection:
            found = outbox.unsent(connection, 1000)
            bodies = notifications.write(connection, found, "https://rebuilder.example.org")
        store.dispose()
    return tuple(notifications.message(letter.written(bodies[letter.seq])) for letter in found)


def _with_logs(bench: Workbench) -> None:
    submit = bench.builder.submit

    def with_log(order: BuildRequest) -> Submission:
        found = submit(order)
        return replace(found, log=f"https://logs.example.org/{found.ref}.log")

    bench.builder.submit = with_log  # type: ignore[method-assign]


def _roll_back(bench: Workbench) -> None:
    """The base's new build turns out to be bad."""
    with bench.store.begin() as connection:
        asked = RequestedRollback(0, "base:f42", "alice", "it leaks", "", with_descendants=False)
        rollbacks.request(connection, asked, bench.clock.now)
        bad, earlier = rollbacks.current(connection)["base:f42"], rollbacks.earlier(connection, ["base:f42"])
        (wanted,) = rollbacks.requested(connection)
    with bench.loop.engine.begin() as connection:
        bench.loop.controllers.rollbacks._take_back(connection, wanted, [(bad, earlier["base:f42"][0], "")])


def _pushing(bench: Workbench) -> None:
    """As a builder does that pushes itself."""
    result = bench.builder.result

    def pushed(ref: str) -> ImageBuild:
        build = result(ref)
        name, _, stream = build.image.rpartition(":")
        digest = f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"
        return replace(build, digest=digest, tags=(f"registry.example.org/{name}:{stream}",))

    bench.builder.result = pushed  # type: ignore[method-assign]


def _section(kind: type[RebuilderMessage], example: Message) -> str:
    assert isinstance(example, kind)
    example.validate()
    told = {
        "schema": f"`{get_name(kind)}`",
        "severity": LEVELS[kind.severity],
        "summary": f"“{example.summary}”",
        "url": example.url,
        "packages": ", ".join(example.packages),
        "containers": ", ".join(example.containers),
        "usernames": ", ".join(example.usernames) or "none",
    }
    lines = [f"## {kind.topic}", "", (kind.__doc__ or "").strip(), ""]
    lines += [f"* {key}: {value}" for key, value in told.items()]
    return "\n".join([*lines, "", "```json", json.dumps(example.body, indent=2), "```", ""])


def _rows(schema: Schema, prefix: str = "") -> Iterator[str]:
    """The fields, those of what is inside a field after it."""
    for name, field in schema["properties"].items():
        yield f"* `{prefix}{name}` ({_kind(field)}): {field['description']}"
        inner = field.get("items", field)
        if "properties" in inner:
            yield from _rows(inner, f"{prefix}{name}{'[]' if 'items' in field else ''}.")


def _kind(field: dict[str, Any]) -> str:
    kind = field["type"]
    return kind if isinstance(kind, str) else " or ".join(kind)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
