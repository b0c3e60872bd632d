"""Ordered rebuilds of layered container images when an RPM in a lower layer is updated."""
