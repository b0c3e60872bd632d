"""What MkDocs adds to the pages of this folder: the reference, and the documents and samples beside it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BESIDE = ("ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")
FOLDERS = ("config", "systemd", "monitoring", "packaging")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README as the first page, the documents at the tree's root, samples, and the reference."""
    sys.path[:0] = [str(HERE), str(ROOT)]
    import reference

    found = {"index.md": _as_if_here((ROOT / "README.md").read_text(encoding="utf-8"))}
    found |= {name: _as_if_here((ROOT / name).read_text(encoding="utf-8")) for name in BESIDE}
    found |= reference.pages()
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file():
                found[path.relative_to(ROOT).as_posix()] = path.read_text(encoding="utf-8")
        for place in (ROOT / folder, *filter(Path.is_dir, (ROOT / folder).rglob("*"))):
            found[f"{place.relative_to(ROOT).as_posix()}/index.md"] = _listing(place)
    for path, text in found.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links that lead out of this folder lead to what was added."""
    if page.file.src_uri.endswith("/index.md"):
        return markdown
    return re.sub(r"\]\(\.\./", "](", _folders(markdown))


def _listing(folder: Path) -> str:
    """A page with a link to each file of a folder."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return "\n".join([f"# {folder.relative_to(ROOT).as_posix()}/", "", *(f"* [{name}]({name})" for name in names), ""])


def _as_if_here(text: str) -> str:
    """A document of the tree's root with the links of one that is in this folder."""
    text = re.sub(r"\]\(docs/", "](", text)
    return re.sub(r"\]\(LICENSE\)", "](https://spdx.org/licenses/MIT.html)", _folders(text))


def _folders(text: str) -> str:
    return re.sub(rf"\]\(((?:\.\./)?(?:{'|'.join(FOLDERS)})/(?:[\w.@-]+/)*)\)", r"](\1index.md)", text)
