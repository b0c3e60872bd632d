"""Everything SQL: models, sessions, and queries in the words of the domain."""
