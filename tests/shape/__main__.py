"""Prints the measures: `PYTHONPATH=.:tests python -m shape [FOLDER…]`, with those of other projects beside."""

from __future__ import annotations

import sys
from pathlib import Path

from shape.density import LEVELS, PARAMETERS, WAYS, measures
from shape.peers import table
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
for row in table([Path(name) for name in sys.argv[1:]]) if len(sys.argv) > 1 else ():
    print(" | ".join(row))
