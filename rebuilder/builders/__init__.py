"""Where builds run, behind one protocol."""
