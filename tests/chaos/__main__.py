"""`python -m chaos [--minutes M] [--page FILE] [FAULT…]`: make the faults, and show what came of them."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from support import servers

from chaos.faults import Stage
from chaos.outsiders import FAULTS
from chaos.world import Verdict
from rebuilder.demo.broker import Broker

WHOLE_MINUTES = 20.0
BEGIN, END = "<!-- the table is made by `make chaos` -->", "<!-- end of the table -->"
HEAD = ("fault", "database", "times", "lost", "built twice", "stuck", "seconds")


def run(folder: Path, scale: float, names: Sequence[str] = ()) -> Iterator[Verdict]:
    """Make the faults, on servers of their own."""
    with servers.PostgreSQL() as postgres, Broker(folder / "broker") as broker:
        stage = Stage(folder, postgres, broker, scale)
        for fault, kinds in FAULTS:
            for kind in kinds:
                if not names or fault.__name__ in names:
                    yield fault(stage, kind)


def table(verdicts: Sequence[Verdict]) -> str:
    """As Markdown has it."""
    rows = [HEAD, ("---", "---", "--:", "--:", "--:", "--:", "--:")]
    rows += [
        (v.fault, v.database, str(v.times), str(v.lost), str(v.twice), str(v.stuck), f"{v.seconds:.0f}")
        for v in verdicts
    ]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main() -> int:
    parser = argparse.ArgumentParser(prog="chaos")
    parser.add_argument("--minutes", type=float, default=WHOLE_MINUTES)
    parser.add_argument("--page", type=Path, help="write the table into this page")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("fault", nargs="*")
    asked = parser.parse_args()
    random.seed(asked.seed)
    print(f"seed {asked.seed}", flush=True)
    found = []
    with tempfile.TemporaryDirectory(prefix="chaos-", dir="/tmp") as folder:
        for verdict in run(Path(folder), asked.minutes / WHOLE_MINUTES, asked.fault):
            print(f"{time.strftime('%H:%M:%S')} {verdict}", flush=True)
            found.append(verdict)
            if not verdict.well or verdict.note:
                _keep_logs(Path(folder), verdict)
    print(table(found))
    if asked.page:
        before, _, rest = asked.page.read_text().partition(BEGIN)
        asked.page.write_text(f"{before}{BEGIN}\n\n{table(found)}\n\n{END}{rest.partition(END)[2]}")
    return 0 if all(verdict.well for verdict in found) else 1


def _keep_logs(folder: Path, verdict: Verdict) -> None:
    """What the engines said, where it is not well."""
    for log in folder.glob(f"*-{verdict.database}/engine.log"):
        kept = Path(tempfile.gettempdir()) / f"chaos-{log.parent.name}.log"
        kept.write_bytes(log.read_bytes())
        print(f"  the engines' log: {kept}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
