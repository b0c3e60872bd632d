"""Bills of materials of images, as CycloneDX and SPDX have them; the libraries come with the extra `sbom`."""
