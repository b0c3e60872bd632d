"""How dense the code is, and how many rooms a change touches: measured, and held by tests."""
