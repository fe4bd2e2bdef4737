"""The closed random draws of a service's campaign as a log, with the current version's features and arms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from optimizer.attributes import PER_CHANNEL_FEATURES
from optimizer.evaluation.log import Log, customer_keys
from optimizer.facts import columns_of
from optimizer.rewards import RewardSpec
from simulator.what_if.pages import Decisions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from optimizer.campaign import CampaignFile
    from optimizer.engine import Engine
    from optimizer.versions import Version
    from simulator.what_if.pages import Page


def campaign_log(engine: Engine, campaign_id: str) -> tuple[Iterator[Log], CampaignFile]:
    """The log in chunks, and the campaign's current version, by whose reward it is valued. Raises NotFound.

    Decisions of versions with other arms are no part of it.
    """
    version = engine.runtime.store.read(lambda connection: engine.versions.current(connection, campaign_id))
    spec = RewardSpec.of(version.campaign)
    pages = Decisions(engine, campaign_id, [spec], engine.runtime.now_us())
    return _chunks(pages, version), version.campaign


def _chunks(pages: Decisions, version: Version) -> Iterator[Log]:
    for page in pages:
        if tuple(page.version.catalog.index) == tuple(version.catalog.index):
            yield _log(page, version)


def _log(page: Page, version: Version) -> Log:
    rows = np.flatnonzero(page.chosen >= 0)
    contexts, histories = ([each[i] for i in rows.tolist()] for each in (page.contexts, page.histories))
    types = {f.name: f.type for f in version.campaign.features if f.source == "attribute"}
    context, past = columns_of(version, types, contexts, histories)
    for name in PER_CHANNEL_FEATURES:
        by_channel = past.pop(name)
        past |= {f"{name}.{each}": by_channel[:, i] for i, each in enumerate(version.channel_ids)}
    distribution = page.distribution[rows]
    return Log(
        arms=tuple(version.catalog.index),
        chosen=page.chosen[rows],
        propensity=distribution[np.arange(len(rows)), page.chosen[rows]],
        reward=page.reward[rows, 0],
        allowed=page.allowed[rows],
        distribution=distribution,
        customer=customer_keys([page.rows[i].subject_id for i in rows.tolist()]),
        context=context,
        history=past,
    )
