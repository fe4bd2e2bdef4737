"""Keeping the log in order over the years: made again from it, exported from it, and dropped of it."""
