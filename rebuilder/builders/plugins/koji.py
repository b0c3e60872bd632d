"""Builds as tasks of a Koji hub."""

from __future__ import annotations

from rebuilder.builders.koji import KojiBuilder
from rebuilder.builders.plugin import BuilderPlugin, BuildHistory
from rebuilder.builders.protocol import Builder
from rebuilder.config import Settings
from rebuilder.inventory.koji import session


class Plugin(BuilderPlugin):
    """`builder = "koji"`."""

    builds_in_koji = True
    needs_target = True

    def make(self, settings: Settings, history: BuildHistory) -> Builder:
        return KojiBuilder(settings)

    def check(self, settings: Settings) -> None:
        session.check(settings.koji, building=True)
