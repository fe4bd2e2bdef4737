"""Random campaigns, customers and logs, and what Vowpal Wabbit is to be told of them, example by example."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
import vowpalwabbit
from hypothesis import strategies as st

from optimizer.attributes import PER_CHANNEL_FEATURES
from optimizer.campaign import CampaignFile
from optimizer.catalog import Catalog
from optimizer.features import FeatureSpace
from optimizer.lessons import Lessons
from optimizer.vw import BITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from optimizer.features import Encoded
    from optimizer.learner import Member
    from optimizer.standardisation import Standardiser

WORDS = ("gold", "two words", "a|b:c", "50%", "?", "", "ñandú 漢", "x^y=z", "007")
"""Values of categories, most of them with something that Vowpal Wabbit's text format would read otherwise."""

_FEATURES: tuple[dict[str, Any], ...] = (
    {"name": "n0", "type": "number", "missing": "mean"},
    {"name": "n1", "type": "number", "missing": "median", "scale": "log"},
    {"name": "n2", "type": "number", "missing": "flag"},
    {"name": "k0", "type": "category", "missing": "level"},
    {"name": "k1", "type": "category", "missing": "ignore"},
    {"name": "b0", "type": "boolean", "missing": "level"},
    {"name": "b1", "type": "boolean", "missing": "ignore"},
    {"name": "mc", "type": "multi_category", "missing": "level"},
    {"name": "md", "type": "multi_category", "missing": "ignore"},
    {"name": "hours_since_last_touch", "type": "number", "source": "history", "missing": "median", "scale": "log"},
    {"name": "hours_since_last_touch_on_channel", "type": "number", "source": "history", "missing": "flag"},
    {"name": "touches_7d", "type": "number", "source": "history", "missing": "mean"},
    {"name": "last_message", "type": "category", "source": "history", "missing": "level"},
    {"name": "last_opened", "type": "boolean", "source": "history", "missing": "level"},
)
FEATURES = {feature["name"]: feature for feature in _FEATURES}
"""A feature of every kind, by name."""

SINGLE_VALUED = ("k0", "k1", "b0", "b1", "last_message", "last_opened")
ATTRIBUTES: dict[str, Any] = {"tone": "warm & kind", "price": 12.5, "new": True, "rank": -0.25}
STARTS = datetime(2026, 1, 1, tzinfo=UTC)
ZONES = ("UTC", "America/Mexico_City", "Europe/Berlin", "Pacific/Auckland", "Australia/Lord_Howe")


def message(number: int, channels: int, **extra: object) -> dict[str, Any]:
    """A message that can be sent on each of so many channels."""
    creatives = {f"ch{j}": {"template": "t", "version": 1} for j in range(channels)}
    return {"id": f"m{number}", "creatives": creatives, **extra}


def slot(number: int, **extra: object) -> dict[str, Any]:
    """A slot of an hour; the higher its number, the later."""
    return {"id": f"s{number}", "days": "all", "from": f"{7 + number:02d}:00", "to": f"{8 + number:02d}:00", **extra}


def campaign_of(  # noqa: PLR0913 -- the sizes and parts of a campaign
    *,
    messages: int | list[dict[str, Any]] = 2,
    channels: int = 0,
    slots: int | list[dict[str, Any]] = 0,
    no_send: bool = True,
    features: Sequence[str | dict[str, Any]] = (),
    settings: dict[str, Any] | None = None,
    **parts: object,
) -> CampaignFile:
    """A campaign of this size; `features` may be names from `FEATURES`; `settings` and `parts` are added."""
    listed = [message(i, channels) for i in range(messages)] if isinstance(messages, int) else messages
    timed = [slot(i) for i in range(slots)] if isinstance(slots, int) else slots
    data: dict[str, Any] = {
        "version": 1,
        "campaign": {"id": "c", "name": "c", "starts_at": STARTS.isoformat(), **(settings or {})},
        "features": [{"bucket": "customer"} | (FEATURES[f] if isinstance(f, str) else f) for f in features],
        "catalog": {
            "messages": listed,
            "channels": [{"id": f"ch{j}", "cost": 0.0} for j in range(channels)],
            "timing": {"horizon": "3d", "slots": timed} if timed else None,
            "no_send": no_send,
        },
        "reward": {"events": [{"name": "clicked", "value": 1.0, "window": "1d"}]},
    }
    return CampaignFile.model_validate(data | parts)


@st.composite
def campaigns(draw: st.DrawFn) -> CampaignFile:
    """Campaigns of every shape: with and without channels, slots, no_send, features, attributes, offers and crosses."""
    channels, slots = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    features = draw(st.lists(st.sampled_from(sorted(FEATURES)), unique=True, max_size=8))
    weekdays = st.lists(st.sampled_from(["mon", "tue", "wed", "thu", "fri", "sat", "sun"]), unique=True, min_size=1)
    missing = {"missing": draw(st.sampled_from(["mean", "median", "flag"]))}
    parts: dict[str, Any] = {
        "features": [FEATURES[name] | (missing if name in PER_CHANNEL_FEATURES else {}) for name in features]
    }
    if draw(st.booleans()):
        dimensions = ["message", *["channel"] * bool(channels), *["timing"] * bool(slots)]
        some_dimensions = st.lists(st.sampled_from(dimensions), unique=True, min_size=1)
        pairable = [name for name in features if name in SINGLE_VALUED]
        contexts: st.SearchStrategy[list[str]] = st.just([])
        if features:
            contexts |= st.sampled_from(features).map(lambda name: [name])
        if len(pairable) > 1:
            contexts |= st.lists(st.sampled_from(pairable), unique=True, min_size=2, max_size=2)
        cross = st.tuples(contexts, some_dimensions).map(lambda both: both[0] + both[1])
        parts["policy"] = {"crosses": draw(st.lists(cross, min_size=1, max_size=6))}
    return campaign_of(
        messages=[message(i, channels, **draw(_message_parts())) for i in range(draw(st.integers(1, 3)))],
        channels=channels,
        slots=[slot(i, days=draw(st.just("all") | weekdays)) for i in range(slots)],
        no_send=draw(st.booleans()),
        **parts,
    )


def _message_parts() -> st.SearchStrategy[dict[str, Any]]:
    offer = {"id": "off10", "type": "discount", "value": 10, "unit": "percent"}
    attributes = st.sets(st.sampled_from(sorted(ATTRIBUTES))).map(lambda names: {n: ATTRIBUTES[n] for n in names})
    return st.fixed_dictionaries({"attributes": attributes, "offer": st.sampled_from([None, offer])})


def grown(campaign: CampaignFile) -> CampaignFile:
    """The next version of a campaign: one message more and, where there are slots, one slot more."""
    data = campaign.model_dump(mode="json", by_alias=True)
    spec = data["catalog"]
    spec["messages"].insert(0, message(9, len(spec["channels"]), attributes={"tone": "cold", "brand_new": 2.0}))
    if spec["timing"]:
        spec["timing"]["slots"].append(slot(9))
    return CampaignFile.model_validate(data)


@dataclass(frozen=True)
class Customers:
    """Raw columns of n customers, as `FeatureSpace.encode` and the decider take them."""

    context: dict[str, NDArray[Any]]
    history: dict[str, NDArray[Any]]
    n: int

    def encoded(self, space: FeatureSpace) -> Encoded:
        """Their encoded features."""
        return space.encode(self.context, self.history, self.n)


def customers(rng: np.random.Generator, n: int, channels: int, words: tuple[str, ...] = WORDS[:5]) -> Customers:
    """Random customers; a tenth of every value is missing, categories are of these words."""

    def number(loc: float, scale: float, shape: tuple[int, ...] = (n,)) -> NDArray[np.float64]:
        return np.where(rng.random(shape) < 0.1, np.nan, rng.normal(loc, scale, shape))

    def boolean() -> NDArray[np.float64]:
        return np.where(rng.random(n) < 0.1, np.nan, rng.integers(0, 2, n).astype(float))

    def several() -> tuple[str, ...] | None:
        return None if rng.random() < 0.1 else tuple(w for w in words if rng.random() < 0.4)

    def objects(values: list[Any]) -> NDArray[Any]:
        return np.fromiter(values, object, n)

    def category() -> NDArray[Any]:
        return objects([None if rng.random() < 0.1 else words[i] for i in rng.integers(0, len(words), n)])

    context = {
        "n0": number(3.0, 2.0),
        "n1": number(-50.0, 400.0),
        "n2": number(0.0, 1e-3),
        "k0": category(),
        "k1": category(),
        "b0": boolean(),
        "b1": boolean(),
        "mc": objects([several() for _ in range(n)]),
        "md": objects([several() for _ in range(n)]),
    }
    history = {
        "hours_since_last_touch": np.abs(number(0.0, 100.0)),
        "hours_since_last_touch_on_channel": np.abs(number(0.0, 100.0, (n, channels))),
        "touches_7d": rng.integers(0, 4, n).astype(float),
        "last_message": category(),
        "last_opened": boolean(),
    }
    return Customers(context, history, n)


def instants() -> st.SearchStrategy[datetime]:
    """Minutes of two years, daylight-saving changes of all `ZONES` among them."""
    return st.integers(0, 2 * 366 * 24 * 60).map(lambda minutes: STARTS + timedelta(minutes=minutes))


def zones() -> st.SearchStrategy[ZoneInfo]:
    """Time zones on both sides of Greenwich and of the equator."""
    return st.sampled_from(ZONES).map(ZoneInfo)


@dataclass(frozen=True)
class Log:
    """Customers, the arms that they got, and what came of it."""

    people: Customers
    arms: NDArray[np.intp]
    variants: list[tuple[str, int] | None]
    rewards: NDArray[np.float64]
    propensities: NDArray[np.float64]
    candidates: NDArray[np.intp]

    def lessons(self, space: FeatureSpace, start: int = 0, end: int | None = None) -> Lessons:
        """The rows from `start` up to `end` as the learner takes them."""
        rows = slice(start, end)
        encoded = self.people.encoded(space)
        part = type(encoded)(encoded.numbers[rows], tuple(values[rows] for values in encoded.levels))
        return Lessons.of(
            space,
            part,
            self.arms[rows],
            self.variants[rows],
            rewards=self.rewards[rows],
            propensities=self.propensities[rows],
            candidates=self.candidates[rows],
        )


def log(rng: np.random.Generator, space: FeatureSpace, n: int, rewards: tuple[float, ...] = (0.0, 0.3, 1.0)) -> Log:
    """A random log of n decisions over the arms of a campaign, on different days."""
    catalog = space.catalog
    arms = rng.integers(0, len(catalog), n)
    variants: list[tuple[str, int] | None] = []
    for arm in arms.tolist():
        now = STARTS + timedelta(hours=int(rng.integers(0, 24 * 60)))
        schedule = catalog.schedule(ZoneInfo(str(rng.choice(ZONES))), now)
        place = int(catalog.slot_of[arm])
        variants.append(schedule.variants[place] if place >= 0 else None)
    return Log(
        customers(rng, n, len(catalog.channels)),
        arms,
        variants,
        rng.choice(rewards, n),
        rng.uniform(0.05, 1.0, n),
        rng.integers(1, len(catalog) + 1, n),
    )


def space_of(campaign: CampaignFile) -> FeatureSpace:
    """The campaign's features over its own arms."""
    return FeatureSpace(campaign, Catalog(campaign))


def example(  # noqa: PLR0913, PLR0917 -- what an example is a function of
    space: FeatureSpace,
    standardiser: Standardiser,
    encoded: Encoded,
    row: int,
    arm: int,
    variant: tuple[str, int] | None,
    *,
    pairs: bool,
) -> str:
    """One customer and one arm in Vowpal Wabbit's text format, without label, written feature by feature."""
    channel = int(space.catalog.channel_of[arm])
    numbers = standardiser.apply(encoded.numbers[[row]], space.number_of)[0]
    values = [column for column in space.columns if not column.flag]
    parts: dict[str, list[str]] = {}
    for column in space.columns:
        if column.channel not in {-1, channel}:
            continue
        j = next(i for i, v in enumerate(values) if (v.number, v.channel) == (column.number, column.channel))
        if not column.flag:
            parts.setdefault(column.space, []).append(f"{column.text}:{numbers[j]:.9g}")
        elif np.isnan(encoded.numbers[row, j]):
            parts.setdefault(column.space, []).append(column.text)
    for term in space.terms:
        if pairs or not term.pooled:
            levels = [encoded.levels[i][row] for i in term.features]
            parts.setdefault(term.space, []).extend(space.term_levels(term, levels))
    for namespace, name, value in space.arm_features(arm, variant):
        parts.setdefault(namespace, []).append(f"{name}:{value:.9g}")
    return "".join(f" |{namespace} {' '.join(features)}" for namespace, features in parts.items())


def workspace(options: str, saved: bytes | None = None) -> Any:  # noqa: ANN401 -- Vowpal Wabbit has no types
    """Vowpal Wabbit itself, with the table of weights that we use; from a saved model to predict only."""
    base = f"--quiet --noconstant -b {BITS} {options}"
    if saved is None:
        return vowpalwabbit.Workspace(base)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "saved.vw"
        path.write_bytes(saved)
        return vowpalwabbit.Workspace(f"{base} -t -i {path}")


def options_of(member: Member, space: FeatureSpace) -> str:
    """The options of a member of the pool, written out."""
    return f"--loss_function {member.loss} -l 0.5 --power_t 0.5 {space.options(pairs=member.pairs)}"


def partial_prediction(vw: Any, text: str) -> float:  # noqa: ANN401 -- Vowpal Wabbit has no types
    """The unclipped sum of weights times values, without learning from it."""
    parsed = vw.parse(text)
    vw.predict(parsed)
    score: float = parsed.get_partial_prediction()
    vw.finish_example(parsed)
    return score


def saved(vw: Any) -> bytes:  # noqa: ANN401 -- Vowpal Wabbit has no types
    """The bytes of its model file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "saved.vw"
        vw.save(str(path))
        return path.read_bytes()
