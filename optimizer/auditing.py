"""The job that audits propensities: page after page of each campaign's newest draws, what it finds kept in memory."""

from __future__ import annotations

from collections import deque
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Final

import structlog

from optimizer.errors import NotFound
from optimizer.propensities import Audited, audit, unreadable
from optimizer.store.draws import DrawRow, newest_draws

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optimizer.leases import Fence, Leases
    from optimizer.runtime import Runtime
    from optimizer.versions import Versions

PAGE: Final = 20_000
"""How many decisions of a campaign are taken up at a time, the newest; of more since the last time the rest is left."""

WINDOW: Final = 200_000
"""About how many draws the audit looks back on."""

_log = structlog.get_logger(__name__)


class PropensityAudit:
    """Audits each campaign's newest draws, again and again. What it has found is in memory, since it took the campaign.

    The first time it looks back on the newest `PAGE` draws. The rows are read in the order of their ids; one that was
    committed after a later one was read is left out, whichever arm it drew.
    """

    def __init__(self, runtime: Runtime, versions: Versions, leases: Leases) -> None:
        self._runtime = runtime
        self._versions = versions
        self._leases = leases
        self._after: dict[str, str] = {}
        self._pages: dict[str, deque[Audited]] = {}
        self._found: dict[str, Audited] = {}

    @property
    def found(self) -> Mapping[str, Audited]:
        """What the audit of each campaign comes to, over about the last `WINDOW` draws."""
        return dict(self._found)

    def audit_due(self) -> int:
        """Audit what was decided since the last time in this worker's campaigns; how many decisions were looked at."""
        loaded = self._runtime.store.read(self._versions.all)
        mine: set[str] = set()

        def act(fence: Fence) -> int:
            mine.add(fence.campaign_id)
            return self.audit(fence.campaign_id)

        try:
            return self._leases.each([row.campaign_id for row in loaded], act)
        finally:
            for left in self._found.keys() - mine:
                del self._found[left], self._pages[left], self._after[left]

    def audit(self, campaign_id: str) -> int:
        """The same for one campaign, whoever holds it."""
        store, tenant = self._runtime.store, self._runtime.tenant
        after_id = self._after.get(campaign_id, "")
        rows = store.read(lambda c: newest_draws(c, tenant, campaign_id, after_id, PAGE))
        if not rows:
            return 0
        by_version: dict[str, list[DrawRow]] = {}
        for row in rows:
            by_version.setdefault(row.config_hash, []).append(row)
        page = reduce(add, (self._version(campaign_id, each, mine) for each, mine in by_version.items()))
        pages = self._pages.setdefault(campaign_id, deque())
        pages.append(page)
        while sum(each.draws for each in pages) - pages[0].draws >= WINDOW:
            pages.popleft()
        self._after[campaign_id] = rows[0].decision_id
        self._found[campaign_id] = found = reduce(add, pages)
        if not found.holds:
            arm, z = found.worst
            _log.error(
                "propensities_differ",
                campaign=campaign_id,
                arm=arm,
                z=round(z, 2),
                alarm=round(found.alarm, 2),
                differing=found.differing,
                decision_id=found.example,
                advice="optimizer verify the decision; stop relying on off-policy estimates of this campaign",
            )
        return len(rows)

    def _version(self, campaign_id: str, config_hash: str, rows: Sequence[DrawRow]) -> Audited:
        try:
            version = self._runtime.store.read(lambda c: self._versions.get(c, campaign_id, config_hash))
        except NotFound:
            return unreadable(rows)
        return audit(version.catalog, rows)
