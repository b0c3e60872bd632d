"""What the builders' contract needs of each builder: its world, held in the test's hand. One file for each."""

from __future__ import annotations

from harnesses import osbs
from harnesses.buildah import BuildahHarness
from harnesses.koji import KojiHarness
from harnesses.protocol import Harness, Power
from harnesses.simulated import SimulatedHarness

HARNESSES: tuple[type[Harness], ...] = (SimulatedHarness, BuildahHarness, KojiHarness, *osbs.HARNESSES)

__all__ = ["HARNESSES", "Harness", "Power"]
