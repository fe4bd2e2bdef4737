"""The upper bound: an endpoint that takes the same body and does nothing. `python -m benchmarks.empty_service PORT`."""

from __future__ import annotations

import sys

from fastapi import FastAPI
from pydantic import BaseModel

from api.models import DecisionIn  # noqa: TC001 -- FastAPI looks it up
from benchmarks import services

app = FastAPI()


class Answer(BaseModel):
    """A small answer."""

    customer_id: str
    arm: str | None


@app.post("/v1/decisions")
async def decide(question: DecisionIn) -> Answer:
    """Nothing is decided."""
    return Answer(customer_id=question.customer_id, arm=None)


if __name__ == "__main__":
    services.run(app, int(sys.argv[1]))
