"""What is sent and answered over HTTP, with examples: the edge at which everything is checked."""

from api.models.audit import AuditPage, AuditQuery, ChangeOut
from api.models.base import Key
from api.models.callbacks import CallbackIn
from api.models.campaigns import (
    Alive,
    CampaignOut,
    CampaignState,
    GroupOut,
    Ready,
    RemovalsOut,
    RemovalsQuery,
    RunIn,
    RunOut,
)
from api.models.customers import CustomerBody, CustomerIn, CustomerLine, CustomerOut, CustomerStored
from api.models.decisions import ArmOut, CandidateOut, DecisionIn, DecisionLine, DecisionOut, ExplanationOut, RemovedOut
from api.models.disclosure import CustomerData, CustomerFacts, HeldDecisionOut, HeldEvent, HeldExternalTouch
from api.models.events import EventLine, EventObserved, ReceiptOut
from api.models.suppressions import HeldSuppression, SuppressionIn, SuppressionLine, Suppressions, WhomIn
from api.models.touches import (
    ReconciliationOut,
    ReconciliationQuery,
    RetryIn,
    TouchesQuery,
    TouchOut,
    TouchPage,
    TouchState,
)
from api.models.trials import TrialIn, TrialOut, TrialsOut

__all__ = [
    "Alive",
    "ArmOut",
    "AuditPage",
    "AuditQuery",
    "CallbackIn",
    "CampaignOut",
    "CampaignState",
    "CandidateOut",
    "ChangeOut",
    "CustomerBody",
    "CustomerData",
    "CustomerFacts",
    "CustomerIn",
    "CustomerLine",
    "CustomerOut",
    "CustomerStored",
    "DecisionIn",
    "DecisionLine",
    "DecisionOut",
    "EventLine",
    "EventObserved",
    "ExplanationOut",
    "GroupOut",
    "HeldDecisionOut",
    "HeldEvent",
    "HeldExternalTouch",
    "HeldSuppression",
    "Key",
    "Ready",
    "ReceiptOut",
    "ReconciliationOut",
    "ReconciliationQuery",
    "RemovalsOut",
    "RemovalsQuery",
    "RemovedOut",
    "RetryIn",
    "RunIn",
    "RunOut",
    "SuppressionIn",
    "SuppressionLine",
    "Suppressions",
    "TouchOut",
    "TouchPage",
    "TouchState",
    "TouchesQuery",
    "TrialIn",
    "TrialOut",
    "TrialsOut",
    "WhomIn",
]
