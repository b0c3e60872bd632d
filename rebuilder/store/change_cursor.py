"""Whether anything has changed, for a few look-ups: so that live pages cost the database next to nothing."""

from __future__ import annotations

from msgspec import Struct, field
from sqlalchemy import Connection, func, select, text

from rebuilder.store.models import Action, Change, Message, Rebuild, Transition, Wave

MOST = 5000


class Mark(Struct, frozen=True):
    """How far the database is. Two that are equal mean that nothing has changed which a page shows.

    `step`, `change` and `action` are the last ids; of messages, changes and actions also how many are still to be
    dealt with. `waves` are those that are not finished.
    """

    step: int
    message: tuple[int, int]
    change: tuple[int, int]
    action: tuple[int, int]
    waves: frozenset[int]

    def __str__(self) -> str:
        numbers = (self.step, *self.message, *self.change, *self.action, *sorted(self.waves))
        return "-".join(map(str, numbers))


class Difference(Struct, frozen=True):
    """What has changed between two marks: the waves and the images whose rebuilds took a step, and what else.

    `messages` is whether only messages came in; `others` whether something happened that may matter to any page.
    """

    waves: frozenset[int] = field(default_factory=frozenset)
    images: frozenset[int] = field(default_factory=frozenset)
    messages: bool = False
    others: bool = False


def read(connection: Connection) -> Mark:
    """How far the database is now."""
    last = (
        select(func.max(Transition.id)).scalar_subquery(),
        select(func.max(Message.seq)).scalar_subquery(),
        select(func.count()).select_from(Message).where(text("message.state = 'new'")).scalar_subquery(),
        select(func.max(Change.id)).scalar_subquery(),
        select(func.count()).select_from(Change).where(text("change.state = 'settling'")).scalar_subquery(),
        select(func.max(Action.id)).scalar_subquery(),
        select(func.count()).select_from(Action).where(text("action.done_at IS NULL")).scalar_subquery(),
    )
    step, *rest = (number or 0 for number in connection.execute(select(*last)).one())
    message, unread, change, settling, action, requested = rest
    waves = frozenset(connection.scalars(select(Wave.id).where(Wave.state.in_(("planned", "running")))))
    return Mark(step, (message, unread), (change, settling), (action, requested), waves)


def difference(connection: Connection, before: Mark, after: Mark) -> Difference:
    """What has changed between two marks."""
    others = (before.change, before.action) != (after.change, after.action)
    query = (
        select(Rebuild.wave_id, Rebuild.image_id)
        .join(Transition, Transition.rebuild_id == Rebuild.id)
        .where(Transition.id > before.step, Transition.id <= after.step)
        .distinct()
        .limit(MOST)
    )
    touched = connection.execute(query).all() if after.step != before.step else []
    return Difference(
        before.waves ^ after.waves | {wave for wave, _ in touched},
        frozenset(image for _, image in touched),
        messages=before.message != after.message,
        others=others or len(touched) == MOST,
    )
