"""External parents in `inventory` and `plan`."""

from __future__ import annotations

from rebuilder.cli.context import Context
from rebuilder.cli.output import as_json, print_line, styled, table
from rebuilder.domain.external import short
from rebuilder.domain.times import format_time
from rebuilder.engine.external_parents import Refreshed
from rebuilder.queries import externals
from rebuilder.queries.externals import External
from rebuilder.store.database import reading


def list_all(context: Context, json_: bool) -> None:
    """The external parents, and how they stand."""
    with reading(context.stored) as connection:
        parents = externals.read(connection)
    if json_:
        as_json(parents)
        return
    table(("external parent", "digest", "since", "images", "state"), [
        (one.spec, short(one.digest or "unknown"), format_time(one.since), str(len(one.images)), _state(one))
        for one in parents
    ])  # fmt: skip


def show(context: Context, spec: str, json_: bool) -> None:
    """One external parent. Raises UnknownError."""
    with reading(context.stored) as connection:
        parent = externals.in_full(connection, spec)
    if json_:
        as_json(parent)
        return
    print_line("state: ", _state(parent))
    for name, value in (("name", parent.name), ("digest", parent.digest), ("previous", parent.previous),
                        ("its tag is now", parent.offered), ("since", format_time(parent.since)),
                        ("asked", format_time(parent.asked)), ("images", ", ".join(parent.images))):  # fmt: skip
        if value:
            print_line(f"{name}: {value}")
    for platform, rpms in parent.rpms.items():
        print_line(f"rpms of {platform}: {'unknown' if rpms is None else len(rpms)} ({parent.platforms[platform]})")
        for nevra in rpms or ():
            print_line(f"  {nevra}")


def told(refreshed: Refreshed) -> None:
    """What came of asking registries."""
    if not refreshed.asked:
        return
    new = f", {len(refreshed.moved)} new" if refreshed.moved else ""
    wrong = f", {len(refreshed.troubles)} unreachable: {refreshed.troubles[0]}" if refreshed.troubles else ""
    print_line(f"external parents: {refreshed.asked} asked for{new}{wrong}")


def _state(parent: External) -> object:
    if parent.trouble:
        return styled(f"unreachable: {parent.trouble}", "failed")
    unknown = [platform for platform, origin in parent.platforms.items() if origin not in {"rpmdb", "sbom", "none"}]
    if parent.digest is None:
        return styled("not asked for yet", "unknown")
    return styled(f"contents unknown: {', '.join(unknown)}", "unknown") if unknown else styled("known", "current")
