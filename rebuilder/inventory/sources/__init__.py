"""The sources of images that come with rebuilder, each in the module of its name."""
