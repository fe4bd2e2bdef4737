"""The shop of `benchmarks.shop` as a service finds it: customers who were sent something, rewards, a snapshot."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
import orjson

from benchmarks import shop
from optimizer.attributes import Attribute, Attributes, AttributeType
from optimizer.clock import VirtualClock
from optimizer.decisions import Decision, DecisionRequest
from optimizer.dispatch.routes import Routes
from optimizer.dispatch.senders import FileSender
from optimizer.engine import Engine
from optimizer.recording import EventIn
from optimizer.store import Store
from optimizer.store.customers import Customer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.random import Generator

T = TypeVar("T")

PAGE: Final = 5_000
CAMPAIGN: Final = "speed"
_LONG_AGO: Final = timedelta(hours=80)
"""Longer than it takes a decision to mature: 24 hours' horizon, 20 hours' window, 24 hours' lateness."""
_HORIZON_H: Final = 24
_BUYERS: Final = 0.1

ATTRIBUTES: Final = Attributes(
    tuple(
        Attribute(name=name, type=kind, description="Made up.")
        for names, kind in ((shop.NUMBERS, AttributeType.NUMBER), (shop.CATEGORIES, AttributeType.CATEGORY))
        for name in names
    )
)


@dataclass(frozen=True, slots=True)
class Place:
    """A service's files in a folder, on a database.

    Attributes:
        settings: the file with its settings.
        url: its database.
    """

    settings: Path
    url: str

    @classmethod
    def make(cls, folder: Path, url: str) -> Place:
        """Write them; the campaign is in the database."""
        declared = folder / "attributes.yaml"
        declared.write_bytes(
            orjson.dumps({"version": 1, "attributes": [a.model_dump(mode="json") for a in ATTRIBUTES.declared]})
        )
        settings = {
            "version": 1,
            "database": url,
            "attributes_file": str(declared),
            "outbox": str(folder / "outbox"),
            "secret_file": str(folder / "secret"),
            "log_level": "warning",
        }
        file = folder / "service.yaml"
        file.write_bytes(orjson.dumps(settings))
        return cls(file, url)


def customer_ids(n: int) -> list[str]:
    """The ids of the first n customers."""
    return [f"customer-{i:07}" for i in range(n)]


def make(url: str, folder: Path, customers: int, touched: int) -> None:
    """Fill a new database: so many customers, of whom the first `touched` were decided for, and sent their touches.

    A tenth of those bought; that was learned and a snapshot published. Everything is as if the service had been there.
    """
    rng = np.random.default_rng(1)
    begin = datetime.now(UTC) - _LONG_AGO
    clock = VirtualClock(begin)
    with closing(Engine(Store(url), ATTRIBUTES, Routes.to(FileSender(folder / "sent")), clock=clock)) as engine:
        engine.load_campaign(shop.campaign())
        for page in pages(customer_ids(customers)):
            engine.put_customers(list(_people(rng, page)))
        decisions = [
            decision for page in pages(customer_ids(touched)) for decision in _decided(engine, page) if decision.arm
        ]
        for hour in range(_HORIZON_H):
            clock.advance_to(begin + timedelta(hours=hour + 1))
            engine.outbox.dispatch_due()
        bought = [decision for decision in decisions if rng.random() < _BUYERS]
        for some in pages(bought):
            engine.record([EventIn(f"bought-{d.decision_id}", "bought", decision_id=d.decision_id) for d in some])
        clock.advance_to(begin + _LONG_AGO)
        engine.closing.close_due()
        engine.trainer.train_due()


def _people(rng: Generator, ids: Sequence[str]) -> Iterator[Customer]:
    for place, (customer_id, attributes) in enumerate(zip(ids, attributes_of(rng, len(ids)), strict=True)):
        yield Customer(customer_id, attributes, shop.ZONES[place % len(shop.ZONES)], {}, shop.CONSENTS)


def attributes_of(rng: Generator, n: int) -> list[dict[str, Any]]:
    """What is known of n customers, as it is sent."""
    columns = {name: column.tolist() for name, column in shop.columns(rng, n).items()}
    rounded = {
        name: [round(value, 4) for value in column] if name in shop.NUMBERS else column
        for name, column in columns.items()
    }
    return [dict(zip(rounded, values, strict=True)) for values in zip(*rounded.values(), strict=True)]


def _decided(engine: Engine, ids: Sequence[str]) -> list[Decision]:
    answers = engine.decide([DecisionRequest(CAMPAIGN, customer_id, f"past-{customer_id}") for customer_id in ids])
    return [answer for answer in answers if isinstance(answer, Decision)]


def pages(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """The items, a page at a time."""
    for start in range(0, len(items), PAGE):
        yield items[start : start + PAGE]
