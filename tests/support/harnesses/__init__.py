"""What the builders' contract needs of each builder: its world, held in the test's hand. One file for each."""

from __future__ import annotations

from support.harnesses import osbs
from support.harnesses.buildah import BuildahHarness
from support.harnesses.koji import KojiHarness
from support.harnesses.protocol import Harness, Power
from support.harnesses.simulated import SimulatedHarness

HARNESSES: tuple[type[Harness], ...] = (SimulatedHarness, BuildahHarness, KojiHarness, *osbs.HARNESSES)

__all__ = ["HARNESSES", "Harness", "Power"]
