"""The record: tables, one writer, and plain query functions by subject.

`Store` opens the database. The query functions live in modules named after what they ask about
(`optimizer.store.decisions`, `.events`, ...), take a connection and the tenant first, and are run by `Store.read` and
`Store.write`.
"""

from optimizer.store.store import DEFAULT_TENANT, Store

__all__ = ["DEFAULT_TENANT", "Store"]
