"""Learners behind one interface, to be compared on one stream of customers: ours, and what others use."""

from simulator.learners.bagging import Bagging
from simulator.learners.chance import Uniform
from simulator.learners.greedy import EpsilonGreedy
from simulator.learners.interface import Learner, Taken
from simulator.learners.linucb import DisjointLinUCB, SharedLinUCB
from simulator.learners.logistic import LogisticThompson
from simulator.learners.ours import Ours
from simulator.learners.playing import Outcome, Turn, play
from simulator.learners.thompson import LinearThompson

__all__ = [
    "Bagging",
    "DisjointLinUCB",
    "EpsilonGreedy",
    "Learner",
    "LinearThompson",
    "LogisticThompson",
    "Ours",
    "Outcome",
    "SharedLinUCB",
    "Taken",
    "Turn",
    "Uniform",
    "play",
]
