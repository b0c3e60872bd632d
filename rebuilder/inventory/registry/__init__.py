"""Images that are in a registry."""
