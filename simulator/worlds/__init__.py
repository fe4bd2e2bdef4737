"""Worlds: customers who respond. One whose true effects are known, and real ones from randomised logs."""

from simulator.worlds.calibration import Target, calibrate
from simulator.worlds.factorial import FactorialConfig, FactorialWorld, Responses
from simulator.worlds.games import Values
from simulator.worlds.logged import LoggedRow, LoggedWorld
from simulator.worlds.shapley import bucket_values, shapley

__all__ = [
    "FactorialConfig",
    "FactorialWorld",
    "LoggedRow",
    "LoggedWorld",
    "Responses",
    "Target",
    "Values",
    "bucket_values",
    "calibrate",
    "shapley",
]
