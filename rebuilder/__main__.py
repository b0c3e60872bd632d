"""`python -m rebuilder` is the `rebuilder` command."""

from rebuilder.cli import main

main()
