"""Judging a policy on logged outcomes: off-policy estimators, their intervals, audits and refusals. Pure."""
