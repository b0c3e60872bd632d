"""Faults made on purpose, on real processes and servers, and what came of them: `python -m chaos`."""
