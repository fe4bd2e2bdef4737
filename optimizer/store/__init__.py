"""The record: tables, transactions, and plain query functions by subject.

`Store` opens the database. The query functions live in modules named after what they ask about
(`optimizer.store.decisions`, `.events`, ...), take a connection and the tenant first, and are run by `Store.read`,
`Store.write` and `Store.gather`.
"""

from optimizer.store.store import Store

__all__ = ["Store"]
