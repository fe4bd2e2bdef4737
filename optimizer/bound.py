"""An engine for callers who may know of some campaigns alone: the others do not exist for them.

What belongs to no campaign is not theirs either: an event that would count in all of them has to name one. Requests
whose path names a campaign or a customer are refused before they come to an engine (`api.doors`).
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from optimizer.audit import SERVICE
from optimizer.dispatch import handling
from optimizer.engine import Engine, Explanation
from optimizer.errors import InvalidInput, NotFound, OptimizerError
from optimizer.store import decisions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optimizer.decisions import Decision, DecisionRequest
    from optimizer.dispatch.handling import TouchReport, Wanted
    from optimizer.recording import EventIn, Receipt
    from optimizer.reports import CampaignReport
    from optimizer.store.rows import TouchRow


class BoundEngine(Engine):
    """A tenant's engine as far as it is about these campaigns. It shares everything with `engine`."""

    def __init__(self, engine: Engine, campaigns: frozenset[str]) -> None:
        self.__dict__.update(engine.__dict__)
        self._campaigns = campaigns

    def campaigns(self) -> list[CampaignReport]:
        """These campaigns as they stand."""
        return [report for report in super().campaigns() if report.campaign_id in self._campaigns]

    def deciding(
        self, requests: Sequence[DecisionRequest], *, apart: bool = False
    ) -> Future[Sequence[Decision | OptimizerError]]:
        """See `Engine`; requests for other campaigns get NotFound in their place."""
        mine = [request for request in requests if request.campaign_id in self._campaigns]
        if len(mine) == len(requests):
            return super().deciding(requests, apart=apart)
        answer: Future[Sequence[Decision | OptimizerError]] = Future()
        answer.set_running_or_notify_cancel()

        def pass_on(decided: Future[Sequence[Decision | OptimizerError]]) -> None:
            error = decided.exception()
            if error is not None:
                answer.set_exception(error)
                return
            answers = iter(decided.result())
            answer.set_result(
                [next(answers) if r.campaign_id in self._campaigns else no_campaign(r.campaign_id) for r in requests]
            )

        super().deciding(mine, apart=apart).add_done_callback(pass_on)
        return answer

    def decision(self, decision_id: str) -> Decision:
        """See `Engine`. Raises NotFound for a decision of another campaign."""
        return self._mine(super().decision(decision_id))

    def explain(self, decision_id: str) -> Explanation:
        """See `Engine`. Raises NotFound for a decision of another campaign.

        Of touches and events of other campaigns it tells when they were and on which channel, not whose or what.
        """
        explanation = super().explain(decision_id)
        self._mine(explanation.decision)
        contact = dict(explanation.contact)
        for name in ("touches", "outcomes"):
            if name in contact:
                contact[name] = [self._known(each) for each in contact[name]]
        return replace(explanation, contact=contact)

    def _known(self, occurrence: Sequence[Any]) -> list[Any]:
        at_us, state, campaign_id, channel, *what = occurrence
        mine = campaign_id in self._campaigns
        return [at_us, state, campaign_id if mine else None, channel, *(what if mine else (None, None))]

    def receive(self, events: Sequence[EventIn]) -> list[Receipt | OptimizerError]:
        """See `Engine`; an event that does not belong to one of these campaigns gets an error in its place.

        It belongs where it names one, or a decision that is there: only whoever asked for it can know its id.
        """
        named = [event.decision_id for event in events if event.decision_id is not None]
        tenant = self.runtime.tenant
        heads = self.runtime.store.read(partial(decisions.heads_by_ids, tenant=tenant, ids=named)) if named else {}
        campaigns = {decision_id: head.campaign_id for decision_id, head in heads.items()}
        refusals = [self._refusal(event, campaigns) for event in events]
        taken = [event for event, refusal in zip(events, refusals, strict=True) if refusal is None]
        receipts = iter(super().receive(taken) if taken else [])
        return [next(receipts) if refusal is None else refusal for refusal in refusals]

    def touches(self, wanted: Wanted, limit: int, before_id: str | None = None) -> list[TouchReport]:
        """See `Engine`; of these campaigns alone."""
        tenant = self.runtime.tenant
        query = partial(handling.page, tenant=tenant, wanted=wanted, limit=limit, before_id=before_id)
        return self.runtime.store.read(partial(query, campaigns=self._campaigns))

    def retry_touch(self, decision_id: str, *, even_if_sent: bool = False, by: str = SERVICE) -> TouchRow:
        """See `Engine`. Raises NotFound for a touch of another campaign."""
        self.decision(decision_id)
        return super().retry_touch(decision_id, even_if_sent=even_if_sent, by=by)

    def cancel_touch(self, decision_id: str, *, by: str = SERVICE) -> TouchRow:
        """See `Engine`. Raises NotFound for a touch of another campaign."""
        self.decision(decision_id)
        return super().cancel_touch(decision_id, by=by)

    def _refusal(self, event: EventIn, campaigns: dict[str, str]) -> OptimizerError | None:
        if event.decision_id is not None and campaigns.get(event.decision_id) not in self._campaigns:
            return NotFound(f"there is no decision {event.decision_id!r}")
        if event.campaign_id is not None and event.campaign_id not in self._campaigns:
            return no_campaign(event.campaign_id)
        if event.decision_id is None and event.campaign_id is None:
            return InvalidInput("this key is bound to campaigns: name the campaign_id for which the event counts")
        return None

    def _mine(self, decision: Decision) -> Decision:
        if decision.campaign_id not in self._campaigns:
            raise NotFound(f"there is no decision {decision.decision_id!r}")
        return decision


def no_campaign(campaign_id: str) -> NotFound:
    """What is said of a campaign that is not there; of one that is not the caller's, no other word."""
    return NotFound(f"there is no campaign {campaign_id!r}: load its file first")
