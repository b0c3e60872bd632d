"""Status over HTTP: pages for people, an API for scripts, metrics and health for whoever watches the service."""
