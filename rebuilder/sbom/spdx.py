"""The bill of materials as SPDX 2.3."""

from __future__ import annotations

import io
import re

from spdx_tools.spdx.model import (
    Actor,
    ActorType,
    CreationInfo,
    Document,
    ExternalPackageRef,
    ExternalPackageRefCategory,
    Package,
    PackagePurpose,
    Relationship,
    RelationshipType,
    SpdxNoAssertion,
)
from spdx_tools.spdx.writer.json import json_writer

from rebuilder import distribution
from rebuilder.domain.rpm import Rpm
from rebuilder.sbom.contents import TOOL, Contents, purl_of

VERSION, DOCUMENT, IMAGE = "SPDX-2.3", "SPDXRef-DOCUMENT", "SPDXRef-Image"
FOREIGN = re.compile("[^A-Za-z0-9.-]")  # what an SPDX id cannot have


def document(contents: Contents) -> str:
    """The document as JSON."""
    creator = Actor(ActorType.TOOL, f"{TOOL}-{distribution.version()}")
    namespace = contents.serial("spdx").urn
    # It says no zone: SPDX takes every time to be UTC.
    info = CreationInfo(VERSION, DOCUMENT, contents.image, namespace, [creator], contents.made.replace(tzinfo=None))
    image = _package(IMAGE, contents.name, contents.version, contents.purl)
    image.primary_package_purpose = PackagePurpose.CONTAINER
    rpms = [_rpm(number, rpm) for number, rpm in enumerate(contents.rpms, 1)]
    relations = [Relationship(DOCUMENT, RelationshipType.DESCRIBES, IMAGE),
                 *(Relationship(IMAGE, RelationshipType.CONTAINS, rpm.spdx_id) for rpm in rpms)]  # fmt: skip
    written = io.StringIO()
    made = Document(info, packages=[image, *rpms], relationships=relations)
    json_writer.write_document_to_stream(made, written, validate=False)
    return written.getvalue()


def _rpm(number: int, rpm: Rpm) -> Package:
    version = rpm.evr.full if rpm.epoch else rpm.evr.version_release
    return _package(f"SPDXRef-{number}-{FOREIGN.sub('-', rpm.nevra)}", rpm.name, version, purl_of(rpm))


def _package(ident: str, name: str, version: str, purl: str) -> Package:
    references = [ExternalPackageRef(ExternalPackageRefCategory.PACKAGE_MANAGER, "purl", purl)] if purl else []
    return Package(ident, name, SpdxNoAssertion(), version, files_analyzed=False, external_references=references)
