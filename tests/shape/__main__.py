"""Prints the measures: `PYTHONPATH=.:tests python -m shape`."""

from __future__ import annotations

from shape.density import LEVELS, PARAMETERS, WAYS, measures
from shape.rooms import EXAMPLES, classes_of_a_rebuild, rooms_of

found = list(measures())
print(f"functions: {len(found)}")
print(f"above {WAYS} ways through: {sum(one.ways > WAYS for one in found)}")
print(f"above {PARAMETERS} parameters: {sum(one.parameters > PARAMETERS for one in found)}")
print(f"above {LEVELS} levels of blocks: {sum(one.levels > LEVELS for one in found)}")
rebuilds = sorted(classes_of_a_rebuild())
print(f"classes for one rebuild: {len(rebuilds)} ({', '.join(rebuilds)})")
for what, pattern in EXAMPLES.items():
    rooms = sorted(rooms_of(pattern))
    print(f"rooms touched by {what}: {len(rooms)} ({', '.join(rooms)})")
