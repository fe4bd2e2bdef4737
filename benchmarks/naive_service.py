"""The service that one would write first. `python -m benchmarks.naive_service DATABASE_URL MODEL PORT`.

A plain FastAPI endpoint, one text example with all 120 arms a request for `Workspace.predict`, one row and one commit a
request. It is meant to be good at this: plain rather than slow, with no more checks than the database makes, and it
decides nothing about audience, eligibility, groups, repeats or history.
"""

from __future__ import annotations

import json
import random
import sys
from threading import Lock
from time import time_ns
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from fastapi import FastAPI
from pydantic import BaseModel
from sqlalchemy import BigInteger, Column, Float, MetaData, String, Table, Text, UniqueConstraint, create_engine, event

from api.models import DecisionIn  # noqa: TC001 -- FastAPI looks it up
from benchmarks import peer, services, shop
from optimizer.decider import Decider

if TYPE_CHECKING:
    from sqlalchemy import Engine

OPTIONS: Final = "--cb_explore_adf --cb_type mtr --squarecb"
THREADS: Final = 40
"""As many as FastAPI runs plain endpoints in; each has its connection."""

metadata = MetaData()
decisions = Table(
    "naive_decisions",
    metadata,
    Column("decision_id", String, primary_key=True),
    Column("campaign_id", String, nullable=False),
    Column("request_id", String, nullable=False),
    Column("customer_id", String, nullable=False, index=True),
    Column("decided_us", BigInteger, nullable=False),
    Column("context", Text, nullable=False),
    Column("arm", String, nullable=False),
    Column("probability", Float, nullable=False),
    UniqueConstraint("campaign_id", "request_id"),
)


class Answer(BaseModel):
    """What was decided."""

    decision_id: str
    customer_id: str
    arm: str
    probability: float


def create_app(url: str, model: str) -> FastAPI:
    """The application on this database, with the model in this file."""
    decider = Decider(shop.campaign())
    arms = [arm.id for arm in decider.catalog.arms]
    lines = "\n".join(peer.arm_lines(decider, shop.schedule(decider)))
    workspace = peer.workspace(f"{OPTIONS} -t -i {model}")
    predicting, writing = Lock(), Lock()
    engine = _engine(url)
    metadata.create_all(engine)
    app = FastAPI()

    @app.post("/v1/decisions")
    def decide(question: DecisionIn) -> Answer:
        example = f"{shared_line(question.attributes)}\n{lines}"
        with predicting:
            probabilities = workspace.predict(example)
        arm = random.choices(range(len(arms)), probabilities)[0]  # noqa: S311 -- a draw, no secret
        answer = Answer(
            decision_id=str(uuid4()),
            customer_id=question.customer_id,
            arm=arms[arm],
            probability=probabilities[arm],
        )
        row = {
            "decision_id": answer.decision_id,
            "campaign_id": question.campaign_id,
            "request_id": question.request_id,
            "customer_id": question.customer_id,
            "decided_us": time_ns() // 1000,
            "context": json.dumps(question.attributes),
            "arm": answer.arm,
            "probability": answer.probability,
        }
        if engine.dialect.name == "sqlite":
            # SQLite has one writer: to wait for one's turn here is faster than to try again and again there.
            with writing:
                _insert(engine, row)
        else:
            _insert(engine, row)
        return answer

    return app


def shared_line(attributes: dict[str, Any]) -> str:
    """The customer's line of the example."""
    parts = [f"{name}={value}" if isinstance(value, str) else f"{name}:{value}" for name, value in attributes.items()]
    return "shared |A " + " ".join(parts)


def _insert(engine: Engine, row: dict[str, Any]) -> None:
    with engine.begin() as connection:
        connection.execute(decisions.insert(), row)


def _engine(url: str) -> Engine:
    engine = create_engine(url, pool_size=THREADS)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def connected(connection: Any, _entry: object) -> None:  # noqa: ANN401 -- the driver's own
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000"):
                connection.execute(f"PRAGMA {pragma}")

    return engine


if __name__ == "__main__":
    services.run(create_app(*sys.argv[1:3]), int(sys.argv[3]))
