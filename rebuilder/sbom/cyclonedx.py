"""The bill of materials as CycloneDX 1.6."""

from __future__ import annotations

from cyclonedx.model import Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from rebuilder import distribution
from rebuilder.domain.rpm import Rpm
from rebuilder.sbom.contents import TOOL, Contents, purl_of

ROOT = "image"


def document(contents: Contents) -> str:
    """The document as JSON."""
    image = Component(
        name=contents.name, version=contents.version, type=ComponentType.CONTAINER, bom_ref=ROOT,
        purl=PackageURL.from_string(contents.purl) if contents.purl else None,
        properties=[Property(name="rebuilder:image", value=contents.image),
                    Property(name="rebuilder:build", value=contents.ident)],
    )  # fmt: skip
    tool = Component(name=TOOL, version=distribution.version(), type=ComponentType.APPLICATION)
    metadata = BomMetaData(component=image, tools=ToolRepository(components=[tool]), timestamp=contents.made)
    rpms = [_component(rpm) for rpm in contents.rpms]
    bom = Bom(metadata=metadata, components=rpms, serial_number=contents.serial("cyclonedx"))
    bom.register_dependency(image, rpms)
    return str(JsonV1Dot6(bom).output_as_string(indent=2))


def _component(rpm: Rpm) -> Component:
    purl = purl_of(rpm)
    return Component(name=rpm.name, version=rpm.evr.full if rpm.epoch else rpm.evr.version_release,
                     type=ComponentType.LIBRARY, bom_ref=purl, purl=PackageURL.from_string(purl))  # fmt: skip
