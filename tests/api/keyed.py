"""Clients that have a key."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fastapi.testclient import TestClient

from optimizer.keys import Keys, Scope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi import FastAPI

    from optimizer.engine import Engine


def a_key(engine: Engine, *scopes: Scope, tenant: str = "default", campaigns: Sequence[str] | None = None) -> str:
    """A new key, with the scope admin unless others are given."""
    runtime = replace(engine.runtime, tenant=tenant)
    return Keys(runtime).create(scopes or [Scope.ADMIN], campaigns=campaigns)


def client_with(app: FastAPI, key: str) -> TestClient:
    """A client of a service that is reached from anywhere."""
    headers = {"Authorization": f"Bearer {key}"}
    return TestClient(app, "http://service.example", headers=headers, raise_server_exceptions=False)
