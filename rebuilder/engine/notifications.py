"""From the outbox to messages: what happened, in the words of `rebuilder.messages`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from fedora_messaging.message import WARNING
from msgspec import to_builtins
from sqlalchemy import Connection

from rebuilder import messages
from rebuilder.domain.change import Change, most_severe
from rebuilder.domain.deployment import by_digest
from rebuilder.domain.image import Image
from rebuilder.domain.impact import Reason
from rebuilder.domain.lifecycle import ENDED, State
from rebuilder.domain.reasons import stale_rpm
from rebuilder.domain.times import written_seconds
from rebuilder.domain.topics import LISTED, Notice, RollbackFacts, StateFacts, WaveFacts
from rebuilder.messages import RebuilderMessage
from rebuilder.store import causes, inventory, notifications, rebuilds, waves
from rebuilder.store.notifications import BuildInfo
from rebuilder.store.outbox import Facts, OutboxEntry
from rebuilder.store.waves import WaveEntry

Body = dict[str, Any]


def message(letter: OutboxEntry) -> RebuilderMessage:
    """The message, under the letter's id. Where not all of a wave succeeded, that is worth a warning."""
    kind = messages.CLASSES[f"rebuilder.{letter.notice}"]
    stopped = isinstance(letter.facts, WaveFacts) and letter.facts.stopped
    made = kind(body=letter.body, severity=WARNING if stopped else None)
    made.id = letter.id
    return made


def write(connection: Connection, letters: Sequence[OutboxEntry], pages: str) -> dict[int, Body]:
    """The bodies of these letters, by their numbers. `pages` is the address of the status pages, or empty."""
    by_id = {ident: waves.find(connection, ident) for ident in {letter.wave_id for letter in letters}}
    about = {letter.seq: wave for letter in letters if (wave := by_id[letter.wave_id])}
    images = _Images(connection, [letter for letter in letters if letter.rebuild_id is not None])
    return {
        letter.seq: (
            _of_wave(connection, letter, about[letter.seq], pages)
            if letter.rebuild_id is None
            else images.body(letter, letter.rebuild_id, about[letter.seq], pages)
        )
        for letter in letters
    }


class _Images:
    """What is to be told of the rebuilds of some letters, read all at once."""

    def __init__(self, connection: Connection, letters: Sequence[OutboxEntry]) -> None:
        ids = list({letter.rebuild_id for letter in letters if letter.rebuild_id is not None})
        self._entries = rebuilds.of_ids(connection, ids)
        self._images = inventory.find(connection, {entry.image for entry in self._entries.values()})
        self._reasons = causes.reasons_of(connection, ids)
        self._awaited = notifications.awaited(connection, ids)
        builds = {ident for letter in letters for ident in _build_ids(letter.facts)}
        self._builds = notifications.builds(connection, list(builds))

    def body(self, letter: OutboxEntry, rebuild_id: int, wave: WaveEntry, pages: str) -> Body:
        entry, facts = self._entries[rebuild_id], letter.facts
        if isinstance(facts, RollbackFacts):
            return self._rolled_back(self._images[entry.image], letter.at, facts, pages)
        assert isinstance(facts, StateFacts)
        pushed = letter.notice is Notice.IMAGE_PUSHED
        image, state = self._images[entry.image], State.SUCCEEDED if pushed else State(letter.notice[len("image.") :])
        ended = letter.at if state in ENDED else None
        return {
            "rebuild": entry.id,
            "wave": entry.wave_id,
            "image": entry.image,
            "name": image.name,
            "stream": image.stream,
            "state": str(state),
            "severity": entry.severity,
            "attempt": facts.attempt,
            "reason": facts.reason,
            "note": entry.note,
            "causes": _causes(self._reasons.get(entry.id, ())),
            "parents": self._parents(entry.id, image),
            "build": _build(self._builds.get(facts.build or 0)),
            "log": facts.log or None,
            "timing": {"created": _at(entry.created_at), "started": _at(facts.started), "ended": _at(ended)},
            "at": written_seconds(letter.at),
            "url": _page(entry.image, pages),
            "agent": facts.who or None,
            "users": _names(facts.who, entry.asked_by, wave.approved_by),
            **({"names": list(facts.names[:LISTED])} if pushed else {}),
        }

    def _rolled_back(self, image: Image, at: float, facts: RollbackFacts, pages: str) -> Body:
        return {
            "image": image.key,
            "name": image.name,
            "stream": image.stream,
            "reason": facts.reason,
            "bad": _build(self._builds[facts.bad]),
            "build": _build(self._builds[facts.good]),
            "names": list(facts.names[:LISTED]),
            "built_on_bad": list(facts.built_on_bad[:LISTED]),
            "at": written_seconds(at),
            "url": _page(image.key, pages),
            "agent": facts.who or None,
            "users": _names(facts.who),
        }

    def _parents(self, rebuild_id: int, image: Image) -> list[Body]:
        return [
            {"image": str(parent), "kind": str(parent.kind), "rebuild": self._awaited.get((rebuild_id, parent.image))}
            for parent in image.parents[:LISTED]
        ]


def _of_wave(connection: Connection, letter: OutboxEntry, wave: WaveEntry, pages: str) -> Body:
    taken = [noticed.change for noticed in waves.changes_of(connection, wave.id)]
    size, facts = notifications.summary(connection, wave.id), letter.facts
    assert isinstance(facts, WaveFacts)
    proposed = facts.state == "planned"  # by now it may have been approved
    who = facts.who or wave.approved_by
    worst = most_severe((size.severity, *(change.severity for change in taken)))
    body = {
        "wave": wave.id,
        "state": facts.state,
        "rule": wave.rule,
        "severity": str(worst),
        "changes": [_change(change) for change in taken[:LISTED]],
        "rebuilds": size.rebuilds,
        "images": list(size.images),
        "created": written_seconds(wave.created_at),
        "at": written_seconds(letter.at),
        "url": f"{pages}/waves/{wave.id}" if pages else None,
        "agent": (who or None) if facts.state == "running" else None,
        "users": _names(who, *size.asked_by),
    }
    if proposed:
        body |= {"rebuilds": 0, "images": [], "users": _names("", *size.asked_by)}
    return {**body, **_outcome(facts)}


def _outcome(facts: WaveFacts) -> Body:
    """How many rebuilds ended how, and which stopped; nothing for a wave that goes on."""
    if facts.counts is None:
        return {}
    return {"counts": facts.counts, "stopped": [to_builtins(stopped) for stopped in facts.stopped or ()]}


def _build_ids(facts: Facts) -> tuple[int, ...]:
    """The builds that are to be told of."""
    if isinstance(facts, RollbackFacts):
        return facts.bad, facts.good
    return (facts.build,) if isinstance(facts, StateFacts) and facts.build is not None else ()


def _page(image: str, pages: str) -> str | None:
    return f"{pages}/images/{quote(image, safe='/:')}" if pages else None


def _causes(reasons: Iterable[Reason]) -> list[Body]:
    """The changes, each with the RPMs that it makes stale."""
    rpms_of: dict[Change, list[Body]] = {}
    for reason in reasons:
        rpms = rpms_of.setdefault(reason.change, [])
        if reason.installed and len(rpms) < LISTED:
            rpms.append(stale_rpm(reason))
    return [{**_change(change), "rpms": rpms} for change, rpms in list(rpms_of.items())[:LISTED]]


def _change(change: Change) -> Body:
    return {
        "source": change.build.name,
        "evr": str(change.build.evr),
        "stream": change.stream,
        "severity": str(change.severity),
        "type": change.type,
        "update": change.update or None,
        "url": change.url or None,
    }


def _build(built: BuildInfo | None) -> Mapping[str, Any] | None:
    if built is None:
        return None
    return {
        "nvr": built.ident, "digest": built.digest or None,
        "pull_specs": list(by_digest(built.tags, built.digest)[:LISTED]), "parents": list(built.parents[:LISTED]),
    }  # fmt: skip


def _names(*users: str) -> list[str]:
    return sorted(set(filter(None, users)))


def _at(seconds: float | None) -> str | None:
    return None if seconds is None else written_seconds(seconds)
