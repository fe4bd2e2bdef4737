from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from optimizer.store import Store, lags
from optimizer.store.ledgers import put_ledgers
from optimizer.store.tables import ledger
from tests import databases

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.databases


def test_counting_ends_where_more_would_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lags, "MANY", 3)
    with Store(databases.fresh_url(tmp_path)) as store:
        for n in (0, 2, 3, 5):
            store.write(lambda c, n=n: put_ledgers(c, "default", {str(i): "[]" for i in range(n)}))  # type: ignore[misc]
            assert store.read(lambda c: lags.count(c, select(ledger.c.subject_id))) == min(n, 3)
