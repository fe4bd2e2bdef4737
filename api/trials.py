"""Test sends of a campaign."""

from __future__ import annotations

from fastapi import APIRouter

from api.models import Key, TrialIn, TrialsOut
from api.requests import JsonRoute, TheCaller, TheEngine

router = APIRouter(prefix="/v1/campaigns", tags=["campaigns"], route_class=JsonRoute)


@router.post("/{campaign_id}/test-sends")
def send_tests(campaign_id: Key, wanted: TrialIn, engine: TheEngine, caller: TheCaller) -> TrialsOut:
    """Send a message to customers on the campaign's `test_list` at once, by the channel's own sender.

    It is marked as a test, counts for no limit, and nothing is learned from it. Sending this again sends it again.
    """
    made = engine.send_tests(campaign_id, wanted.message, wanted.channel, wanted.customer_ids, by=caller.by)
    return TrialsOut.of(made)
