"""What a caller needs for each route, and what each route takes: one table, looked up before anything is read.

What is not in the table needs `admin`: a route that was forgotten here is locked rather than open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from optimizer.keys import Scope
from optimizer.unsubscribing import PATH

ALIVE: Final = "/healthz"
"""What is answered to everybody, and asks nobody."""
READY: Final = "/readyz"
"""What is answered to everybody, in detail to whoever has a key."""
UNSUBSCRIBE: Final = PATH
"""Below this the path is the token of a message's recipient."""
MAX_JSON_BYTES: Final = 8 << 20
MAX_BATCH_BYTES: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Rule:
    """What one route, or all below a path that ends in `/`, asks of its callers.

    Attributes:
        scope: what their key has to be good for; None: any key will do.
        rows: whether the body may be many rows, as large as a batch.
        shared: what it is about belongs to no campaign, so that a key bound to campaigns is not good for it.
        operator: what it shows is not of one tenant, so that the key has to be the operator's, of tenant `default`.
        open: whether no key is asked for: either it tells nothing, or what is sent proves by itself who may.
        deadline: whether its answer begins within seconds; a run over an audience is answered when it is finished.
    """

    method: str
    path: str
    scope: Scope | None
    rows: bool = False
    shared: bool = False
    operator: bool = False
    open: bool = False
    deadline: bool = True


RULES: Final = (
    Rule("POST", "/v1/decisions", Scope.DECIDE),
    Rule("POST", "/v1/decisions:batch", Scope.DECIDE, rows=True),
    Rule("GET", "/v1/decisions/", Scope.READ),
    Rule("POST", "/v1/events", Scope.EVENTS, rows=True),
    Rule("POST", "/v1/customers:batch", Scope.MANAGE, rows=True, shared=True),
    Rule("GET", "/v1/customers/", Scope.READ, shared=True),
    Rule("PUT", "/v1/customers/", Scope.MANAGE, shared=True),
    Rule("DELETE", "/v1/customers/", Scope.MANAGE, shared=True),
    Rule("PUT", "/v1/suppressions", Scope.MANAGE, shared=True),
    Rule("POST", "/v1/suppressions:batch", Scope.MANAGE, rows=True, shared=True),
    Rule("POST", "/v1/suppressions:lift", Scope.MANAGE, shared=True),
    Rule("POST", "/v1/suppressions:check", Scope.READ, shared=True),
    Rule("GET", "/v1/campaigns", Scope.READ),
    Rule("GET", "/v1/campaigns/", Scope.READ),
    Rule("POST", "/v1/campaigns/", Scope.MANAGE, deadline=False),
    Rule("GET", "/v1/touches", Scope.READ),
    Rule("POST", "/v1/touches/", Scope.MANAGE),
    Rule("GET", "/v1/audit", Scope.ADMIN, shared=True),
    Rule("GET", "/metrics", Scope.READ, shared=True, operator=True),
    Rule("POST", "/v1/callbacks/", None, open=True),
    Rule("GET", UNSUBSCRIBE, None, open=True),
    Rule("POST", UNSUBSCRIBE, None, open=True),
    Rule("GET", ALIVE, None, open=True),
    Rule("GET", READY, None),
    Rule("GET", "/openapi.json", None),
    Rule("GET", "/docs", None),
)

CAMPAIGNS: Final = "/v1/campaigns/"
"""Below this the path names a campaign."""

_BY_PATH: Final = {(rule.method, rule.path): rule for rule in RULES}
_OPEN: Final = frozenset(rule.path for rule in RULES if rule.open and rule.path.endswith("/"))
_VERSION: Final = len("/v1/")


def rule_of(method: str, path: str) -> Rule:
    """The rule of a request."""
    method = "GET" if method == "HEAD" else method
    found = _BY_PATH.get((method, path))
    if found is None:
        above = path[: path.find("/", _VERSION) + 1]
        # What no key is asked for is told without one, too, that it does not take another method.
        found = _BY_PATH.get((method, above)) or (Rule(method, above, None, open=True) if above in _OPEN else None)
    return found or Rule(method, path, Scope.ADMIN)


def too_large(max_bytes: int) -> str:
    """What to say to somebody who sends more than `max_bytes`."""
    return f"The body is larger than {max_bytes >> 20} MiB; send it in parts, or many rows as NDJSON."
