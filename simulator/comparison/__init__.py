"""Comparing policies on a log: each is judged on the same rows, ranked, and told apart where that is possible."""
