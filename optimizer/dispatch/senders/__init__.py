"""Senders: each carries out the touches of a channel."""

from optimizer.dispatch.senders.base import SENT, Answers, Outcome, Outgoing, Result, Sender, addresses_of
from optimizer.dispatch.senders.file import FileSender

__all__ = ["SENT", "Answers", "FileSender", "Outcome", "Outgoing", "Result", "Sender", "addresses_of"]
