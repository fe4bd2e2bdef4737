"""The people of the factorial world: their attributes and time zones, drawn once from a seed.

Ten attributes are recorded of everybody. Some decide what a person responds to (`simulator.worlds.effects` says how),
one moves only how often the person buys at all, and `basket_value`, `region` and `acquisition_source` mean nothing: a
learner has to find that out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optimizer.attributes import Columns

Floats: TypeAlias = NDArray[np.float64]

LEVELS: Mapping[str, Mapping[str, float]] = {
    "lifecycle": {"new": 0.25, "repeat": 0.30, "loyal": 0.20, "lapsing": 0.25},
    "work_pattern": {"office": 0.40, "shift": 0.20, "home": 0.22, "student": 0.18},
    "favourite_category": {"fashion": 0.30, "home": 0.25, "sports": 0.25, "beauty": 0.20},
    "region": {"north": 0.30, "south": 0.30, "east": 0.20, "west": 0.20},
    "acquisition_source": {"organic": 0.35, "search": 0.30, "social": 0.25, "partner": 0.10},
}
"""Every category with its levels and the share of people at each."""

ZONES: Mapping[str, float] = {
    "America/Mexico_City": 0.40,
    "America/Bogota": 0.20,
    "America/New_York": 0.15,
    "America/Sao_Paulo": 0.10,
    "Europe/Madrid": 0.15,
}
"""Time zones with the share of people in each."""

_BASKET_UNKNOWN = 0.05


@dataclass(frozen=True, slots=True)
class Population:
    """`n` people.

    Attributes:
        ids: customer ids.
        columns: attribute name -> (n,) array; numbers are float64 with NaN where nothing is recorded, categories are
            object arrays of str.
        zones: (n,) object array of IANA names.
    """

    ids: tuple[str, ...]
    columns: Columns
    zones: NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a person: `customer_id`, `attributes` (without those that are not recorded), `timezone`."""
        names = list(self.columns)
        values = zip(*(self.columns[name].tolist() for name in names), strict=True)
        return [
            {"customer_id": customer_id, "attributes": _recorded(dict(zip(names, row, strict=True))), "timezone": zone}
            for customer_id, row, zone in zip(self.ids, values, self.zones.tolist(), strict=True)
        ]


def draw_population(n: int, rng: np.random.Generator) -> Population:
    """`n` people, the attributes of each independent of one another. Numbers are rounded to what would be recorded."""
    basket = np.round(rng.lognormal(3.6, 0.6, n), 2)
    basket[rng.random(n) < _BASKET_UNKNOWN] = np.nan
    numbers: dict[str, NDArray[Any]] = {
        "age": np.round(np.clip(rng.normal(42.0, 15.0, n), 18.0, 85.0)),
        "price_sensitivity": np.round(rng.beta(2.0, 2.5, n), 3),
        "app_sessions_30d": rng.poisson(rng.gamma(1.2, 6.0, n)).astype(np.float64),
        "purchases_90d": rng.poisson(rng.gamma(1.5, 1.2, n)).astype(np.float64),
        "basket_value": basket,
    }
    categories: dict[str, NDArray[Any]] = {name: _draw(levels, n, rng) for name, levels in LEVELS.items()}
    ids = tuple(f"customer-{i:07d}" for i in range(n))
    return Population(ids, {**numbers, **categories}, _draw(ZONES, n, rng))


def _draw(shares: Mapping[str, float], n: int, rng: np.random.Generator) -> NDArray[np.object_]:
    levels = np.array(list(shares), dtype=object)
    picked: NDArray[np.object_] = levels[rng.choice(len(levels), n, p=list(shares.values()))]
    return picked


def _recorded(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value == value}  # noqa: PLR0124 -- NaN is not itself
