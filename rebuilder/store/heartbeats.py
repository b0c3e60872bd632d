"""When each loop last got on: how other processes know that it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, select

from rebuilder.store.models import Heartbeat
from rebuilder.store.rows import insert_of

MISSED = 6  # heartbeats


@dataclass(frozen=True, slots=True)
class Beat:
    """`loop` last got through at `at`, and means to beat `every` so many seconds; `trouble` is what it met last."""

    loop: str
    at: float
    every: float
    trouble: str = ""

    def late(self, now: float) -> bool:
        """Whether too many heartbeats were missed for it to be chance."""
        return now - self.at > MISSED * self.every


def beat(connection: Connection, loop: str, every: float, now: float, trouble: str = "") -> None:
    """The loop got on."""
    new = insert_of(connection.dialect.name)(Heartbeat).values(loop=loop, at=now, every=every, trouble=trouble)
    same = {"at": new.excluded.at, "every": new.excluded.every, "trouble": new.excluded.trouble}
    connection.execute(new.on_conflict_do_update(index_elements=[Heartbeat.loop], set_=same))


def stopped(connection: Connection, loops: Sequence[str]) -> None:
    """These loops ended because they were told to."""
    connection.execute(delete(Heartbeat).where(Heartbeat.loop.in_(loops)))


def read(connection: Connection) -> dict[str, Beat]:
    """The last heartbeat of each loop that has not been told to end."""
    columns = Heartbeat.loop, Heartbeat.at, Heartbeat.every, Heartbeat.trouble
    return {row[0]: Beat(*row) for row in connection.execute(select(*columns).order_by(Heartbeat.loop))}
