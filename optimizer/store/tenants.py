"""Whose data there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from optimizer.store.tables import campaigns

if TYPE_CHECKING:
    from sqlalchemy import Connection

_WITH_CAMPAIGNS = select(campaigns.c.tenant).distinct().order_by(campaigns.c.tenant)


def tenants_with_campaigns(connection: Connection) -> list[str]:
    """Every tenant that has a campaign, in order."""
    return list(connection.execute(_WITH_CAMPAIGNS).scalars())
