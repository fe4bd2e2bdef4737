"""What is nobody's business stays out of the log of a real service, whatever fails while it has it in hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from optimizer.keys import PREFIX
from tests.api.running import NOW, Place, rows, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.api.running import Service

pytestmark = pytest.mark.databases

VALUE, ADDRESS, FIELD, PERSON = (
    "kanarienvogel-value",
    "kanarienvogel@example.com",
    "kanarienvogel-field",
    "kanari-person",
)
CANARIES = ("kanari",)
FACTS: dict[str, Any] = {
    "attributes": {"plan": VALUE},
    "addresses": {"email": ADDRESS},
    "consents": {},
    "timezone": "Europe/Berlin",
}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    place = Place.make(tmp_path, now=NOW)
    with (tmp_path / "service.yaml").open("a") as settings:
        settings.write("log_level: debug\n")
    with place.service() as made:
        yield made


def use(service: Service) -> list[int]:
    """Ask for everything that takes data, rightly and wrongly; the statuses that came back."""
    # The server ends a connection on which something failed.
    service.client.headers["connection"] = "close"
    ask, person, new = service.client, f"/v1/customers/{PERSON}", uuid4().hex
    question = {"campaign_id": "now", "customer_id": PERSON, "request_id": new, "attributes": {"plan": VALUE}}
    event = {"event_id": new, "name": "clicked", "customer_id": PERSON, "fields": {"note": FIELD}}
    ndjson = {"content-type": "application/x-ndjson"}
    answers = [
        ask.put(person, json=FACTS),
        ask.get(person),
        ask.put(person, json=FACTS | {"attributes": {"age": VALUE, VALUE: 1}}),
        ask.put(person, json=FACTS | {"timezone": VALUE}),
        ask.post("/v1/customers:batch", content=rows({"customer_id": "c2", **FACTS}, {VALUE: 1}), headers=ndjson),
        ask.post("/v1/decisions", json=question),
        ask.post("/v1/decisions", json=question | {"attributes": {"plan": VALUE + "2"}}),
        ask.post("/v1/decisions", json=question | {"request_id": new + "2", "timezone": VALUE}),
        ask.post("/v1/decisions", json=question | {"request_id": new + "3", "campaign_id": VALUE}),
        ask.post("/v1/decisions", content=f'{{"{VALUE}": {VALUE}', headers={"content-type": "application/json"}),
        ask.post("/v1/decisions:batch", content=rows(question | {"request_id": new + "4"}, VALUE), headers=ndjson),
        ask.post("/v1/events", json=event),
        ask.post("/v1/events", content=rows(event | {"event_id": FIELD + new}, {"name": FIELD}), headers=ndjson),
        ask.get(f"/v1/customers/{PERSON}-2"),
        ask.get(f"/{PERSON}%00"),
        ask.get("/v1/campaigns", headers={"authorization": f"Bearer {PREFIX}{VALUE}"}),
        ask.get("/v1/campaigns", headers={"host": f"{VALUE}.example.com"}),
    ]
    for answer in answers:
        if answer.status_code >= 500:
            assert not any(canary in answer.text for canary in CANARIES), answer.text
    return [answer.status_code for answer in answers]


def test_no_value_address_person_or_key_is_logged_whatever_fails(service: Service) -> None:
    place = service.place
    assert not any(status >= 500 for status in use(service))
    until(lambda: place.outbox("email"))

    # Two customers with the same facts break a rule of the database: PostgreSQL tells the row in its message.
    [(last_us,)] = place.sql("select max(updated_us) from customers")
    place.sql(f"create unique index kept_apart on customers (addresses, attributes) where updated_us > {last_us}")
    use(service)
    place.sql("drop index kept_apart")

    # A query fails, with all its parameters.
    for table in ("customers", "events"):
        place.sql(f"alter table {table} rename to away")
        assert any(status >= 500 for status in use(service))
        place.sql(f"alter table away rename to {table}")

    # Jobs fail over rows that cannot be read.
    place.sql("update customers set addresses = ?", f"no JSON {ADDRESS}")
    place.sql("update decisions set context = ?", f"no JSON {VALUE}")
    service.client.post("/v1/decisions", json={"campaign_id": "now", "customer_id": "c2", "request_id": "r9"})
    until(lambda: any(line["job"] == "dispatch" for line in service.logged("job_failed")))
    until(lambda: any(line["job"] == "train" for line in service.logged("job_failed")))

    logged = service.log()
    assert service.logged("request")
    assert "Traceback" in logged
    for canary in CANARIES:
        assert [line for line in logged.splitlines() if canary in line] == []
