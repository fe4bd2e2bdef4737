"""What is left afterwards: nothing acknowledged lost, nothing doubled, everything closed and learned, once.

The weights are compared with those of an undisturbed run: in one process, from the log alone, every reward is computed
again and every decision learned again, in one go.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import orjson

from optimizer import standing
from optimizer.config import load_attributes
from optimizer.dispatch.routes import Routes
from optimizer.dispatch.senders import FileSender
from optimizer.engine import Engine
from optimizer.secret import Secret
from optimizer.upkeep.rebuild import Rebuild
from tests.api.running import ROOT, until

if TYPE_CHECKING:
    from tests.api.running import Place
    from tests.chaos.load import Load

SETTLED_S = 60.0
"""Within this time after the load has ended everything is closed and learned."""


def await_learned(place: Place) -> None:
    """Wait until every decision is closed, and learned by the newest snapshot."""
    engine = _engine(place)
    try:
        until(lambda: _behind(engine) == 0, timeout_s=SETTLED_S)
    finally:
        engine.close()


def reckon(place: Place, load: Load) -> dict[str, Any]:
    """Compare what was acknowledged with what is stored; no process runs any more. What was counted, by name."""
    assert not load.faults, (dict(load.faults), _errors(place))
    counted = {**_decisions(place, load), **_events(place, load), **_customers(place, load), **_touches(place)}
    engine = _engine(place)
    try:
        counted |= _learned(place, engine)
    finally:
        engine.close()
    return counted


def _errors(place: Place) -> list[str]:
    """What the processes said that went wrong, the first few."""
    lines = [line for log in place.folder.glob("log-*") for line in log.read_text(encoding="utf-8").splitlines()]
    return [line[-3000:] for line in lines if '"exception"' in line or "Traceback" in line][:5]


def _engine(place: Place) -> Engine:
    attributes = load_attributes(ROOT / "configs" / "attributes.yaml")
    secret = Secret.from_file(place.folder / "secret")
    return Engine.at(
        place.database, attributes, Routes.to(FileSender(place.folder / "outbox")), timedelta(seconds=1), secret
    )


def _behind(engine: Engine) -> float:
    runtime = engine.runtime
    [camp] = runtime.store.read(lambda c: standing.look(c, runtime.tenant, runtime.now_us())).campaigns
    waiting = runtime.store.read(lambda c: c.exec_driver_sql("SELECT count(*) FROM open_decisions").scalar_one())
    return camp.learning_lag_s + int(waiting)


def _decisions(place: Place, load: Load) -> dict[str, int]:
    told = {request_id: each["decision_id"] for request_id, each in load.acknowledged.decisions.items()}
    stored = place.sql("SELECT request_id, decision_id FROM decisions")
    assert len(dict(stored)) == len(stored), "a request has two decisions"
    assert dict(stored) == told, "a decision is lost, or was never asked for"
    assert dict(place.sql("SELECT request_id, decision_id FROM request_keys")) == told
    return {"decisions acknowledged and stored": len(told)}


def _events(place: Place, load: Load) -> dict[str, int]:
    stored = [event_id for (event_id,) in place.sql("SELECT event_id FROM events")]
    assert len(set(stored)) == len(stored), "an event is stored twice"
    assert set(stored) == load.acknowledged.events, "an event is lost, or was never reported"
    assert place.sql("SELECT count(*) FROM parked") == [(0,)]
    return {"events acknowledged and stored": len(stored)}


def _customers(place: Place, load: Load) -> dict[str, int]:
    stored = dict(place.sql("SELECT customer_id, attributes FROM customers"))
    for customer_id, plan in load.acknowledged.customers.items():
        assert f'"{plan}"' in stored[customer_id], "the last write to a customer is lost"
    return {"customers acknowledged and stored": len(load.acknowledged.customers)}


def _touches(place: Place) -> dict[str, int]:
    sends = {each for (each,) in place.sql("SELECT decision_id FROM decisions WHERE send_us IS NOT NULL")}
    states = dict(place.sql("SELECT decision_id, state FROM touches"))
    assert states.keys() == sends, "a decision to send has no touch, or a touch no decision"
    twice = "SELECT decision_id FROM touch_transitions WHERE state = 'sending' GROUP BY decision_id HAVING count(*) > 1"
    assert place.sql(twice) == [], "a touch was handed to the sender twice"
    lines, torn = _outbox(place)
    assert len(set(lines)) == len(lines), "a touch was sent twice"
    sent = {each for each, state in states.items() if state in {"sent", "clicked"}}
    unknown = {each for each, state in states.items() if state in {"sending", "unknown"}}
    assert set(lines) <= sent | unknown, "what was sent is not noted"
    assert sent - set(lines) <= unknown, "what is noted as sent was not"
    return {"touches sent": len(lines), "touches perhaps sent (unknown)": len(unknown), "torn lines of outbox": torn}


def _outbox(place: Place) -> tuple[list[str], int]:
    """The decisions whose touches were sent, and how many lines came to no end, for want of room or life."""
    found, torn = [], 0
    for line in (place.folder / "outbox" / "email.jsonl").read_bytes().splitlines():
        try:
            found.append(orjson.loads(line)["decision_id"])
        except orjson.JSONDecodeError:
            torn += 1
    return found, torn


def _learned(place: Place, engine: Engine) -> dict[str, Any]:
    count, failed = engine.verify_campaign("now")
    assert failed == [], "a decision is not what it says"
    query = "SELECT decision_id, mature_us, reward, learn, parts FROM rewards ORDER BY decision_id"
    before = place.sql(query)
    assert len(before) == count, "a decision is not closed"
    done = Rebuild(engine, tell=lambda *_: None, wait=lambda _: None).run()
    after = place.sql(query)
    differing = [(one, other) for one, other in zip(before, after, strict=True) if one != other]
    assert not differing, f"{len(differing)} rewards are not those of an undisturbed run: {differing[:2]}"
    [model] = done.models
    assert model.same, "the weights are not those of an undisturbed run"
    assert model.learned == sum(row[3] for row in before), "not everything is learned"
    return {
        "decisions closed and learned": model.learned,
        "rewards other than 0": sum(1 for row in before if row[2]),
        "snapshots published": place.sql("SELECT count(*) FROM snapshots")[0][0],
        "rewards and weights equal to those of an undisturbed run": "yes",
    }
