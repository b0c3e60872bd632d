"""The kinds of builders that come with rebuilder, each in the module of its name."""
