"""Ablation by bucket: what knowing the customer, choosing the message, and the execution are each worth, from a log."""
