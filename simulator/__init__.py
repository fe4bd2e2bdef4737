"""Worlds of customers who respond, and the closed loop run against them in virtual time."""
