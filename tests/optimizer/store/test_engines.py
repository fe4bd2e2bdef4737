from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy.exc import DBAPIError

from optimizer.store import Store
from optimizer.store.keys import KeyRow, insert_key
from tests import databases

if TYPE_CHECKING:
    from sqlalchemy import Connection

pytestmark = pytest.mark.databases


def test_what_the_database_raises_holds_no_values() -> None:
    row = KeyRow("k", "default", "ana@example.com", "d", "[]", None, 0, None, None)

    def twice(connection: Connection) -> None:
        insert_key(connection, row)
        insert_key(connection, row)

    with Store(databases.fresh_url()) as store, pytest.raises(DBAPIError) as caught:
        store.write(twice)
    assert "ana@example.com" not in str(caught.value)
