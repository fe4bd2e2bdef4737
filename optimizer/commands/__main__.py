"""`python -m optimizer.commands`: the same as `optimizer`."""

from optimizer.commands.app import main

main()
