"""The site: it builds without a warning, and its reference has all that the code has."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import click
import pytest
from pydantic import BaseModel

from rebuilder.cli import manual, rebuilder
from rebuilder.config import Settings

ROOT = Path(__file__).resolve().parents[2]


def build(folder: Path, config: Path = ROOT / "mkdocs.yml") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(folder)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def text(site: Path, page: str) -> str:
    html = (site / "reference" / page / "index.html").read_text(encoding="utf-8")
    return unescape(re.sub(r"<[^>]+>", "", html))


def keys(settings: type[BaseModel]) -> Iterator[str]:
    for name, field in settings.model_fields.items():
        yield name
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from keys(inner)


def test_the_reference_has_every_key_of_the_configuration(site: Path) -> None:
    found = text(site, "configuration")
    assert not [key for key in keys(Settings) if key not in found]
    assert "[[consumer_config.policy]]" in found
    assert "[consumer_config.streams.NAME]" in found


def test_the_reference_has_every_verb_and_option(site: Path) -> None:
    found = text(site, "command-line")
    for page in manual.walk(rebuilder):
        assert page.path in found
        assert all(option in found for option, _ in page.options)


def test_the_reference_has_the_api_and_the_metrics(site: Path) -> None:
    assert "GET /api/v1/coverage/{name}" in text(site, "http")
    assert "rebuilder_messages_received_total" in text(site, "metrics")


def test_every_link_within_the_site_leads_somewhere(site: Path) -> None:
    pages = [path for path in site.rglob("*.html") if path.name != "404.html"]
    assert len(pages) > 20
    for page in pages:
        for link in re.findall(r'<(?:a|img)[^>]+(?:href|src)="(?!\w+:)([^"#?]+)', page.read_text(encoding="utf-8")):
            target = (page.parent / unescape(link)).resolve()
            assert target.exists(), f"{page.relative_to(site)}: {link}"


def test_a_broken_link_fails_the_build(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("[nowhere](nowhere.md)\n")
    ours = (ROOT / "mkdocs.yml").read_text()
    config = re.sub(r"^(hooks|nav):.*?(?=^\w|\Z)", "", ours, flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "mkdocs.yml").write_text(config)
    done = build(tmp_path / "site", tmp_path / "mkdocs.yml")
    assert done.returncode == 1
    assert "nowhere.md" in done.stdout + done.stderr


def test_no_verb_is_without_help() -> None:
    pages = list(manual.walk(rebuilder))
    assert isinstance(rebuilder, click.Group)
    assert not [page.path for page in pages if not page.text[0]]
