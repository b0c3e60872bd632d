"""What registries say of images: digests, and the RPMs in them. Skopeo asks, so that people's set-up of it holds."""
