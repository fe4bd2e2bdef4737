"""The command `optimizer`."""

from optimizer.commands.app import ENTRY_POINTS, build_app, main

__all__ = ["ENTRY_POINTS", "build_app", "main"]
