"""The campaigns of a service: every version that was loaded, ready to decide, and which one is current."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property, partial
from threading import Lock
from typing import TYPE_CHECKING, Literal

import orjson

from optimizer.attributes import HISTORY_FEATURES, AttributeType
from optimizer.audit import SERVICE, Action, note
from optimizer.campaign import CampaignFile, Creative
from optimizer.decider import Decider
from optimizer.errors import NotFound, Unavailable
from optimizer.features import FeatureSpace
from optimizer.leases import void_fences
from optimizer.rewards import RewardSpec
from optimizer.rules import rule_types
from optimizer.store import budgets, campaigns, rewards
from optimizer.store.notices import notify
from optimizer.store.rows import CampaignChangeRow, CampaignRow, CampaignVersionRow, DecisionHead, TouchRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from optimizer.catalog import Catalog, Schedule
    from optimizer.contact.rules import ContactRules
    from optimizer.costs import ArmCosts
    from optimizer.runtime import Runtime
    from optimizer.store.rebuilding import PastDecision
    from optimizer.store.rows import DecisionRow


@dataclass(frozen=True)
class Version:
    """One version of a campaign, compiled. Versions are shared between threads; they hold nothing that changes."""

    campaign: CampaignFile
    decider: Decider
    rewards: RewardSpec
    types: Mapping[str, AttributeType]
    """The attributes that its features and rules read."""

    @classmethod
    def of(cls, campaign: CampaignFile, tenant: str) -> Version:
        """Compile a campaign file. What is declared today does not matter: it may have changed since it was loaded."""
        rules = [rule for rule in (campaign.audience, *(m.eligibility for m in campaign.catalog.messages)) if rule]
        asked = rule_types(rules)
        types = {name: asked[name] for name in sorted(asked.keys() - HISTORY_FEATURES.keys())}
        types |= {f.name: f.type for f in campaign.features if f.source == "attribute"}
        return cls(campaign, Decider(campaign, tenant), RewardSpec.of(campaign), types)

    @property
    def catalog(self) -> Catalog:
        """Its arms."""
        return self.decider.catalog

    @property
    def costs(self) -> ArmCosts:
        """What its arms take of its budget; nothing without one."""
        return self.decider.costs

    @property
    def contact(self) -> ContactRules:
        """Its contact rules, and which facts they need."""
        return self.decider.contact

    @cached_property
    def channel_ids(self) -> tuple[str, ...]:
        """Its channels, in the order of the catalog."""
        return tuple(channel.id for channel in self.catalog.channels)

    def runs_at(self, now: datetime) -> bool:
        """Whether the campaign's dates allow decisions at this instant."""
        settings = self.campaign.campaign
        return settings.starts_at <= now and (settings.ends_at is None or now < settings.ends_at)

    def creative(self, message_id: str, channel_id: str) -> Creative:
        """How a message is rendered on a channel."""
        message = next(m for m in self.catalog.messages if m.id == message_id)
        return message.creatives[channel_id]

    @cached_property
    def offers(self) -> Mapping[str, str]:
        """The offer of each message that has one, as JSON text: what a message may say of it, so not what it costs."""
        public = {"id", "type", "value", "unit"}
        found = {m.id: m.offer for m in self.catalog.messages if m.offer is not None}
        return {name: offer.model_dump_json(include=public) for name, offer in found.items()}

    def send_window(self, schedule: Schedule, arm: int) -> tuple[int, int]:
        """When a touch of this arm, by its index, is sent, and when it expires: it is over, or too late."""
        _, send_us, end_us = schedule.openings[self.catalog.cell_of[arm]]
        delivery = self.campaign.delivery
        if delivery is not None and delivery.max_lateness is not None:
            end_us = min(end_us, send_us + delivery.max_lateness // timedelta(microseconds=1))
        return send_us, end_us

    def touch(self, tenant: str, row: DecisionRow | PastDecision) -> TouchRow | None:
        """The touch of one of its decisions, as it was planned; None where nothing was to be sent."""
        if row.send_us is None or row.expires_us is None or row.arm is None:
            return None
        place = self.catalog.index[row.arm]
        arm, channel = self.catalog.arms[place], self.catalog.channel_of[place]
        dispatch = self.catalog.channels[channel].dispatch if channel >= 0 else "caller"
        offer = self.catalog.messages[self.catalog.message_of[place]].offer
        return TouchRow(
            tenant=tenant,
            decision_id=row.decision_id,
            campaign_id=row.campaign_id,
            subject_id=row.subject_id,
            message=arm.message or "",
            channel=arm.channel,
            dispatch=dispatch,
            state="planned",
            seq=0,
            send_us=row.send_us,
            expires_us=row.expires_us,
            sent_us=None,
            lease_token=None,
            lease_until_us=None,
            offer=offer.id if offer else None,
            counts=self.campaign.counts,
            due_us=row.send_us,
            attempts=0,
            reason=None,
            reserved_micro=int(self.costs.whole[place]),
        )

    def space_for(self, features_of: CampaignFile) -> FeatureSpace:
        """The features and crosses of another version over the arms of this one, for learning this one's decisions."""
        if features_of.config_hash == self.campaign.config_hash:
            return self.decider.space
        return FeatureSpace(features_of, self.catalog)


class Versions:
    """Loads, pauses and resumes campaigns, and hands out their versions."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._compiled: dict[tuple[str, str], Version] = {}
        self._lock = Lock()

    def load(self, campaign: CampaignFile, by: str) -> bool:
        """Make this version the current one; whether that changed anything. Pending decisions keep theirs."""
        runtime = self._runtime
        now_us = runtime.now_us()
        row = CampaignVersionRow(
            runtime.tenant,
            campaign.id,
            campaign.config_hash,
            orjson.dumps(campaign.model_dump(mode="json", by_alias=True)).decode(),
            campaign.learner_key,
            now_us,
        )
        change_id = runtime.ids.uuid7(now_us)

        def change(connection: Connection) -> bool:
            changed = campaigns.load_version(connection, row, change_id)
            if changed:
                if campaign.budget is not None:
                    budgets.take_back_blocks(connection, runtime.tenant, campaign.id)
                self._note(connection, by, Action.LOADED, campaign.id, campaign.config_hash)
                notify(connection)
            return changed

        return runtime.store.write(change)

    def set_state(self, campaign_id: str, change: Literal["paused", "resumed"], by: str) -> CampaignRow:
        """Pause or resume a campaign. It acts with the next transaction, in every process. Raises NotFound."""
        return self._runtime.store.write(partial(self._set_state, campaign_id=campaign_id, change=change, by=by))

    def _set_state(
        self, connection: Connection, campaign_id: str, change: Literal["paused", "resumed"], by: str
    ) -> CampaignRow:
        runtime = self._runtime
        before = self.row(connection, campaign_id)
        # Closing waits for what began before: the time is taken inside.
        now_us = runtime.now_us()
        change_id = runtime.ids.uuid7(now_us)
        row = campaigns.change_state(connection, runtime.tenant, campaign_id, change, at_us=now_us, change_id=change_id)
        if row is not None and row != before:
            self._note(connection, by, Action(change), campaign_id, row.config_hash)
            notify(connection)
        return _found(row, campaign_id)

    def pause_soon(self, campaign_id: str, config_hash: str) -> None:
        """Have the service pause a campaign in the next transaction, if this version of it is the current one then.

        It does not wait for that, so that it may be called where a transaction ends.
        """
        # A store that is being closed takes no more; whoever finds the same again pauses it.
        with suppress(Unavailable):
            self._runtime.store.gather(self._pause, [(campaign_id, config_hash)])

    def _pause(self, connection: Connection, versions: Sequence[tuple[str, str]]) -> list[bool]:
        done = {}
        for campaign_id, config_hash in sorted(set(versions)):
            current = self.row(connection, campaign_id).config_hash == config_hash
            if current:
                self._set_state(connection, campaign_id, "paused", SERVICE)
            done[campaign_id, config_hash] = current
        return [done[each] for each in versions]

    def rejoin(self, campaign_id: str, by: str) -> None:
        """Apply the current version's reward to every decision of the past. Raises NotFound.

        The decisions close anew, and a new learner starts from the log; until it has published, the old model serves.
        """
        runtime = self._runtime

        def change(connection: Connection) -> None:
            void_fences(connection, runtime.tenant, campaign_id)
            now_us = runtime.now_us()
            change_id = runtime.ids.uuid7(now_us)
            version = self.current(connection, campaign_id)
            config_hash = version.campaign.config_hash
            row = CampaignChangeRow(runtime.tenant, change_id, campaign_id, "rejoined", config_hash, now_us)
            campaigns.insert_change(connection, row)
            self._note(connection, by, Action.REJOINED, campaign_id, config_hash)
            self.reopen(connection, campaign_id)
            notify(connection)

        runtime.store.write(change)

    def _note(self, connection: Connection, by: str, action: Action, campaign_id: str, config_hash: str) -> None:
        """Write who did that to the campaign, and to which version, into the audit log."""
        note(connection, self._runtime, by, action, {f"campaign:{campaign_id}": {"config_hash": config_hash}})

    def reopen(self, connection: Connection, campaign_id: str) -> None:
        """Have every decision of a campaign closed anew, with the reward that holds for it."""
        tenant = self._runtime.tenant
        rejoin = campaigns.last_rejoin(connection, tenant, campaign_id)
        if rejoin is None:
            rewards.reopen_rewards(connection, tenant, campaign_id)
        else:
            after_us = self.get(connection, campaign_id, rejoin.config_hash).rewards.mature_us(0)
            rewards.reopen_rewards(connection, tenant, campaign_id, before_us=rejoin.at_us, matures_after_us=after_us)

    def rewards_of(self, connection: Connection, heads: Sequence[DecisionHead]) -> list[RewardSpec]:
        """The reward that holds for each decision of a campaign: its own version's, or one applied to the past."""
        if not heads:
            return []
        rejoin = campaigns.last_rejoin(connection, self._runtime.tenant, heads[0].campaign_id)
        hashes = [rejoin.config_hash if rejoin and h.decided_us < rejoin.at_us else h.config_hash for h in heads]
        return [self.get(connection, h.campaign_id, each).rewards for h, each in zip(heads, hashes, strict=True)]

    def learning(self, connection: Connection, campaign_id: str) -> tuple[Version, str]:
        """The current version, and what names its learner: its key, and the last time that past rewards changed."""
        version = self.current(connection, campaign_id)
        key = version.campaign.learner_key
        return version, campaigns.learner_name(connection, self._runtime.tenant, campaign_id, key)

    def row(self, connection: Connection, campaign_id: str) -> CampaignRow:
        """How a campaign stands. Raises NotFound."""
        return _found(campaigns.campaign_by_id(connection, self._runtime.tenant, campaign_id), campaign_id)

    def kept(self, connection: Connection, campaign_ids: Iterable[str]) -> dict[str, CampaignRow | NotFound]:
        """How campaigns stand, or that there is no such one; how any stands stays so until this transaction ends."""
        wanted = list(campaign_ids)
        found = campaigns.keep_campaigns(connection, self._runtime.tenant, wanted)
        return {each: found.get(each) or _unknown(each) for each in wanted}

    def all(self, connection: Connection) -> list[CampaignRow]:
        """Every campaign as it stands, in the order of their ids."""
        return campaigns.all_campaigns(connection, self._runtime.tenant)

    def get(self, connection: Connection, campaign_id: str, config_hash: str) -> Version:
        """One version, compiled when it is first asked for. Raises NotFound."""
        key = (campaign_id, config_hash)
        with self._lock:
            version = self._compiled.get(key)
        if version is None:
            row = campaigns.campaign_version(connection, self._runtime.tenant, campaign_id, config_hash)
            if row is None:
                raise NotFound(f"campaign {campaign_id!r} has no version {config_hash!r}")
            version = self.compile(CampaignFile.model_validate_json(row.body))
        return version

    def compile(self, campaign: CampaignFile) -> Version:
        """This very version, compiled already or now."""
        key = (campaign.id, campaign.config_hash)
        with self._lock:
            if key not in self._compiled:
                self._compiled[key] = Version.of(campaign, self._runtime.tenant)
            return self._compiled[key]

    def current(self, connection: Connection, campaign_id: str) -> Version:
        """The current version of a campaign. Raises NotFound."""
        return self.get(connection, campaign_id, self.row(connection, campaign_id).config_hash)


def _found(row: CampaignRow | None, campaign_id: str) -> CampaignRow:
    if row is None:
        raise _unknown(campaign_id)
    return row


def _unknown(campaign_id: str) -> NotFound:
    return NotFound(f"there is no campaign {campaign_id!r}: load its file first")
