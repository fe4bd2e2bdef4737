"""A campaign's decisions as Vowpal Wabbit dsjson, with the features as learned and in the order of learning.

A number is standardised as it was when the decision was learned; that of a decision that is not learned, as it would
have been at its place. Actions are the arms that the decision could draw. `_label_cost` is the negated reward as it is
learned, in units of the reward's scale, and `_original_label_cost` in its own. Vowpal Wabbit, told
`vowpal_wabbit_options`, learns from the file what the campaign's Vowpal Wabbit models do with `importance: mtr`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np
import orjson

from optimizer.clock import from_us
from optimizer.facts import columns_of, place_of, schedules_of
from optimizer.learner import Learner
from optimizer.registry import resume_of
from optimizer.store import snapshots
from simulator.logs.counts import ExportCounts
from simulator.logs.dsjson_features import FeatureTexts
from simulator.logs.learning_order import START, in_learning_order
from simulator.logs.service import LogPage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from sqlalchemy import Connection

    from optimizer.engine import Engine
    from optimizer.features import Encoded, FeatureSpace
    from optimizer.versions import Version
    from simulator.logs.learning_order import Decided

_DECIMALS: Final = 12  # to which the learner rounds rewards


def write_dsjson(engine: Engine, campaign_id: str, path: Path) -> ExportCounts:
    """Write every decision of a campaign; what it does not learn from says `_skipLearn`.

    Memory does not grow with the log. The database is read in one transaction: the order of learning is that of one
    moment. Raises `NotFound` for an unknown campaign.
    """

    def write(connection: Connection) -> ExportCounts:
        writing = _Writing(engine, campaign_id, connection)
        with path.open("wb") as file:
            return writing.write(connection, file)

    return engine.runtime.store.read(write)


def vowpal_wabbit_options(engine: Engine, campaign_id: str) -> Mapping[str, str]:
    """The options with which Vowpal Wabbit learns from the file what the campaign's own models do, by model.

    The models are those with squared loss, without and with pairs of categorical features; importances are those of
    `importance: mtr`, the only ones that `--cb_adf` has. Raises `NotFound` for an unknown campaign.
    """
    versions = engine.versions
    version, _ = engine.runtime.store.read(lambda connection: versions.learning(connection, campaign_id))
    space = version.decider.space
    unpaired = "".join(f" --ignore {each}" for each in sorted(space.pooled_spaces))
    return {
        "with pairs" if member.pairs else "without pairs": f"--dsjson --cb_adf --cb_type mtr {member.model.options}"
        + ("" if member.pairs else unpaired)
        for member in Learner(space, "mtr").members
        if member.loss == "squared"
    }


class _Writing:
    """One pass over a campaign's decisions: the state of its standardisation, and what was counted."""

    def __init__(self, engine: Engine, campaign_id: str, connection: Connection) -> None:
        self._engine, self._campaign_id = engine, campaign_id
        version, key = engine.versions.learning(connection, campaign_id)
        self._features_of = version.campaign
        self._types = {f.name: f.type for f in version.campaign.features if f.source == "attribute"}
        space, importance = version.decider.space, version.campaign.policy.importance
        base = snapshots.oldest_base(connection, engine.runtime.tenant, campaign_id, key)
        saved = resume_of(base) if base is not None else None
        self._begin = (base.watermark_us, base.watermark_id) if base is not None else START
        self._standardiser = Learner(space, importance, saved).standardiser
        self._texts: dict[str, tuple[FeatureSpace, FeatureTexts]] = {}
        self._decisions, self._left_out = 0, Counter[str]()

    def write(self, connection: Connection, file: BinaryIO) -> ExportCounts:
        """Everything."""
        tenant = self._engine.runtime.tenant
        for page in in_learning_order(connection, tenant, self._campaign_id, self._begin):
            version = self._engine.versions.get(connection, self._campaign_id, page[0].row.config_hash)
            file.writelines(self._lines(version, page))
            self._decisions += len(page)
            self._left_out.update(each.left_out for each in page if each.left_out is not None)
        return ExportCounts(self._decisions, self._decisions - self._left_out.total(), dict(self._left_out))

    def _lines(self, version: Version, page: Sequence[Decided]) -> Iterator[bytes]:
        config_hash = version.campaign.config_hash
        if config_hash not in self._texts:
            space = version.space_for(self._features_of)
            self._texts[config_hash] = space, FeatureTexts(space)
        space, texts = self._texts[config_hash]
        rows = [each.row for each in page]
        contexts = [orjson.loads(row.context) for row in rows]
        context, past = columns_of(version, self._types, contexts, [orjson.loads(row.history) for row in rows])
        encoded = space.encode(context, past, len(rows))
        arms = np.array([-1 if row.arm is None else version.catalog.index[row.arm] for row in rows], np.intp)
        dense = self._dense(space, encoded, arms, [each.left_out is None for each in page]).tolist()
        places = [place_of(version, each) for each in contexts]
        schedules = schedules_of(version, places, [from_us(row.decided_us) for row in rows])
        allowed, p = LogPage(version.catalog, rows, {}, {}).distributions
        slots = version.catalog.slot_of.tolist()
        for i, decided in enumerate(page):
            variants = schedules[i].variants
            candidates = np.flatnonzero(allowed[i]).tolist()
            variant = [None if slot < 0 else variants[slot] for slot in slots]
            by_channel = texts.by_channel(dense[i])
            actions = ",".join([texts.arm(arm, variant[arm], by_channel) for arm in candidates])
            shared = texts.shared(dense[i], encoded, i)
            seen = f'{{{shared}{"," if shared else ""}"_multi":[{actions}]}}'
            yield self._line(decided, int(arms[i]), candidates, p[i], seen)

    def _dense(
        self, space: FeatureSpace, encoded: Encoded, arms: NDArray[np.intp], learned: Sequence[bool]
    ) -> NDArray[np.float32]:
        """(n, C) the dense columns of each decision, standardised at its place, itself included if it is learned."""
        standardised = np.empty(encoded.numbers.shape, np.float32)
        chosen = space.chosen(encoded, space.catalog.channel_of[arms])
        for i, learn in enumerate(learned):
            if learn:
                self._standardiser.learn(chosen[i : i + 1])
            standardised[i] = self._standardiser.apply(encoded.numbers[i : i + 1], space.number_of)
        return space.dense(encoded, standardised)

    def _line(
        self, decided: Decided, arm: int, candidates: Sequence[int], p: NDArray[np.float64], context: str
    ) -> bytes:
        """A line of the file; `arm` is -1 where none was drawn, `context` its `c` as JSON."""
        row, reward = decided.row, decided.reward
        head: dict[str, Any] = {}
        ranked = sorted(candidates, key=lambda each: each != arm)
        if arm >= 0:
            place = candidates.index(arm)
            if reward is not None:
                head["_label_cost"] = 0.0 - round(reward.reward / self._features_of.reward.scale, _DECIMALS)
            head |= {"_label_probability": row.propensity, "_label_Action": place + 1, "_labelIndex": place}
        if reward is not None:
            head["_original_label_cost"] = 0.0 - reward.reward
        if decided.left_out is not None:
            head["_skipLearn"] = True
        head["Timestamp"] = from_us(row.decided_us).isoformat(timespec="microseconds").replace("+00:00", "Z")
        head |= {"Version": "1", "EventId": row.decision_id, "_customer": row.subject_id}
        number = {each: i for i, each in enumerate(candidates, start=1)}
        head["a"] = [number[each] for each in ranked]
        if arm >= 0:
            head["p"] = p[ranked].tolist()
        head["VWState"] = {"m": row.snapshot_id or "N/A"}
        return b'%b,"c":%b}\n' % (orjson.dumps(head)[:-1], context.encode())
