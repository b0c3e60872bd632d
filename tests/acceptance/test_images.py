"""`rebuilder images`: pull specs by digest for people, scripts, Compose and Kustomize."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml
from acceptance.test_server import more, serving
from support.users import User

from rebuilder.demo.process import free_port
from rebuilder.domain.image import ImageBuild
from rebuilder.store import database, open_rebuilds
from rebuilder.store.sync import record_builds

BASE, HTTPD = f"sha256:{'b' * 64}", f"sha256:{'c' * 64}"
PLACES = "registry.example.com/team", "mirror.example.com:5000"
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec:
      containers: [{name: web, image: "registry.example.com/team/httpd:f42"}]
"""
# From https://github.com/compose-spec/compose-spec/blob/main/schema/compose-spec.json: what concerns `image`.
COMPOSE = {
    "type": "object", "required": ["services"], "additionalProperties": False,
    "properties": {"services": {
        "type": "object", "additionalProperties": False,
        "patternProperties": {"^[a-zA-Z0-9._-]+$": {
            "type": "object", "required": ["image"], "properties": {"image": {"type": "string"}},
            "additionalProperties": False,
        }},
    }},
}  # fmt: skip
# The fields of https://github.com/kubernetes-sigs/kustomize/blob/master/api/types/image.go.
KUSTOMIZE_IMAGE = {"name", "newName", "tagSuffix", "newTag", "digest"}


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> User:
    """Somebody with builds of two images in two registries; the others are in none."""
    found = User(tmp_path_factory.mktemp("images"))
    url = f"sqlite:///{found.folder}/rebuilder.db"
    found.configure(f'database_url = "{url}"\n{more(free_port())}')
    assert found.types("inventory", "sync").returncode == 0
    engine = database.open_database(url)
    with engine.begin() as connection:
        ids = open_rebuilds.image_ids(connection, ["base:f42", "httpd:f42"])
        for name, digest in (("base", BASE), ("httpd", HTTPD)):
            tags = tuple(f"{place}/{name}:f42" for place in PLACES)
            build = ImageBuild(f"{name}:f42", f"{name}-1-1", None, (), digest, tags)
            record_builds(connection, [build], ids, 1.0)
    engine.dispose()
    return found


def printed(user: User, *arguments: str, status: int = 0) -> str:
    done = user.types("images", *arguments)
    assert done.returncode == status, done.stderr
    return done.stdout


def test_a_line_names_an_image_and_where_it_is_by_digest(user: User) -> None:
    lines = printed(user, "base:f42", "httpd").splitlines()
    assert lines == [
        f"{image}:f42 {place}/{image}@{digest}" for image, digest in (("base", BASE), ("httpd", HTTPD))
        for place in PLACES
    ]  # fmt: skip


def test_images_in_no_registry_are_named_and_the_status_is_1(user: User) -> None:
    done = user.types("images", "--stream", "f42")
    assert done.returncode == 1
    assert done.stderr.startswith("rebuilder: nothing to pull") and "app:f42, new:f42" in done.stderr
    assert "old:f41" not in done.stderr


def test_as_json_an_image_in_no_registry_has_no_pull_specs(user: User) -> None:
    found = {one["image"]: one for one in json.loads(printed(user, "--json", status=1))}
    assert found["new:f42"]["pull_specs"] == []
    assert found["httpd:f42"]["pull_specs"] == [f"{place}/httpd@{HTTPD}" for place in PLACES]
    assert (found["httpd:f42"]["digest"], found["httpd:f42"]["ident"]) == (HTTPD, "httpd-1-1")


def test_compose_takes_the_first_place_of_each_image(user: User) -> None:
    found = yaml.safe_load(printed(user, "base", "httpd", "--format", "compose"))
    jsonschema.validate(found, COMPOSE)
    assert found["services"]["httpd"]["image"] == f"{PLACES[0]}/httpd@{HTTPD}"


def test_kustomize_gets_a_component_that_sets_digests(user: User, tmp_path: Path) -> None:
    written = printed(user, "base", "httpd", "--format", "kustomize")
    found = yaml.safe_load(written)
    assert (found["apiVersion"], found["kind"]) == ("kustomize.config.k8s.io/v1alpha1", "Component")
    assert {"name": f"{PLACES[1]}/httpd", "digest": HTTPD} in found["images"]
    assert all(set(image) <= KUSTOMIZE_IMAGE for image in found["images"])
    if shutil.which("kubectl") is not None:  # it has Kustomize in it
        assert deployed(tmp_path, written) == f"{PLACES[0]}/httpd@{HTTPD}"


def deployed(folder: Path, component: str) -> str:
    """The image of a deployment by its floating tag, after Kustomize has made use of the component."""
    (folder / "images").mkdir()
    (folder / "images/kustomization.yaml").write_text(component)
    (folder / "deployment.yaml").write_text(DEPLOYMENT)
    (folder / "kustomization.yaml").write_text("resources: [deployment.yaml]\ncomponents: [images]\n")
    made = subprocess.run(["kubectl", "kustomize", str(folder)], check=True, capture_output=True, text=True)
    image: str = yaml.safe_load(made.stdout)["spec"]["template"]["spec"]["containers"][0]["image"]
    return image


def test_a_server_answers_the_same(user: User) -> None:
    with serving(user) as url:
        for format_ in ("text", "json", "compose", "kustomize"):
            question = "base", "httpd", "--format", format_
            assert printed(user, *question, "--server", url) == printed(user, *question)


def test_a_name_that_no_image_has_is_refused(user: User) -> None:
    assert "no image matches htpd; did you mean httpd:f42?" in user.is_refused("images", "htpd")


@pytest.mark.parametrize("format_", ["text", "json", "compose", "kustomize"])
def test_a_stream_without_images_is_refused_and_no_empty_deployment_written(user: User, format_: str) -> None:
    done = user.types("images", "--stream", "f24", "--format", format_)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "rebuilder: stream: unknown stream f24; did you mean f42 or f41?\n"
