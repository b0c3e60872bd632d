"""The demonstration on one machine, and the servers that it and the tests run for themselves."""
