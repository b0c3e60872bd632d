"""What operators are told, read from the database: the same whether a terminal, a script or a browser asks."""
