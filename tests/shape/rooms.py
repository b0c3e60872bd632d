"""How many rooms a change touches: for one that is there already of each kind, the rooms in which its name stands."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping

from shape.density import ROOT, modules

EXAMPLES: Mapping[str, str] = {  # a name that stands nowhere but for that thing
    "a column (rebuild.asked_by)": r"\basked_by\b",
    "a column that all are told (cause.inherited_from)": r"\binherited_from\b",
    "a builder (osbs)": r"\bosbs(_\w+)?\b|\bOsbs\w+",
    # The source: not the prefix of names in `settings.inventory.registry`, nor the tables of registries.conf.
    "a source (registry)": r"\"registry\"(?!, \(| *\))|(?<!settings\.)inventory\.registry|inventory import registry",
    "a key of the policy (package)": r"\brule\.package\b|\bself\.package\b|\bpackage: (OneOrMore|tuple)\[",
    "a notification (image.unneeded)": r"IMAGE_UNNEEDED|ImageUnneeded\w+|image\.unneeded",
}
REBUILD = re.compile(r"(?<!^To)Rebuild(Record|InFull|Facts|State)?$|^InWave$|^Job$")


def rooms_of(pattern: str) -> set[str]:
    """The rooms (packages, or modules beside them) whose code has what the pattern finds."""
    found = set()
    for path in modules():
        if re.search(pattern, path.read_text()):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found.add("/".join(parts[:2]) if parts[0] == "rebuilder" else parts[0])
    return found


def classes_of_a_rebuild() -> Iterator[str]:
    """The classes that say for themselves what a rebuild is. One that extends another, or has one, says it no more."""
    for path in modules():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and REBUILD.search(node.name) and not _takes_over(node):
                yield f"{path.relative_to(ROOT)}:{node.name}"


def _takes_over(node: ast.ClassDef) -> bool:
    kinds = [line.annotation for line in node.body if isinstance(line, ast.AnnAssign)]
    named = {name.id for kind in (*node.bases, *kinds) for name in ast.walk(kind) if isinstance(name, ast.Name)}
    return any(REBUILD.search(name) for name in named)
