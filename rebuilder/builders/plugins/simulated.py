"""The simulated builder, whose builds only take time."""

from __future__ import annotations

from rebuilder.builders.plugin import BuilderPlugin, BuildHistory
from rebuilder.builders.protocol import Builder
from rebuilder.builders.simulated import SimulatedBuilder
from rebuilder.config import Settings


class Plugin(BuilderPlugin):
    """`builder = "simulated"`, and every dry run."""

    runs_tests = True
    builds_nothing = True

    def make(self, settings: Settings, history: BuildHistory) -> Builder:
        return SimulatedBuilder(settings.simulated, history.manifest_of, recall=history.recall)
