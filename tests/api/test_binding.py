"""Real processes: without a key a service is for its own machine alone."""

from __future__ import annotations

from signal import SIGTERM
from typing import TYPE_CHECKING

import pytest

from api.binding import is_loopback
from tests.api.running import NOW, Place, until

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104 - every address of the machine
        ("::", False),
        ("192.168.1.5", False),
        ("service.example", False),
        ("127.0.0.1.example", False),
        ("", False),
    ],
)
def test_an_address_is_this_machines_own_or_not(host: str, local: bool) -> None:  # noqa: FBT001
    assert is_loopback(host) is local


def test_without_a_key_a_service_is_not_reached_from_elsewhere_and_says_why(tmp_path: Path) -> None:
    place = Place.make(tmp_path, now=NOW)
    refused = place.optimizer("serve", "--host", "0.0.0.0")  # noqa: S104 - it is refused
    assert refused.returncode == 1
    assert "no key was made yet, so whoever reaches 0.0.0.0 could do everything" in refused.stderr
    assert "optimizer keys create --scope admin" in refused.stderr
    with place.service() as service:
        [warning] = service.logged("no_keys")
        assert "optimizer keys create" in warning["advice"]
        assert service.decide("r1")["campaign_id"] == "now"


def test_with_a_key_it_may_be_and_nobody_gets_in_without(tmp_path: Path) -> None:
    place = Place.make(tmp_path, now=NOW)
    made = place.optimizer("keys", "create", "--scope", "decide", "--label", "shop", "--expires", "90d")
    assert made.returncode == 0
    key = made.stdout.strip()
    settings = place.folder / "service.yaml"
    settings.write_text(settings.read_text() + "host: 0.0.0.0\n")
    with place.service() as service:
        assert service.logged("no_keys") == []
        assert service.client.get("/healthz").status_code == 200
        assert service.client.get("/v1/campaigns").status_code == 401
        service.client.headers["Authorization"] = f"Bearer {key}"
        assert service.decide("r1")["campaign_id"] == "now"
        assert service.client.get("/v1/campaigns").status_code == 403
        assert place.optimizer("keys", "revoke", key.split("_")[1]).returncode == 0
        until(lambda: service.client.get("/v1/decisions/x").status_code == 401, timeout_s=2)
        assert service.end(SIGTERM) == 0
    assert key.split("_")[2] not in "".join(path.read_text() for path in tmp_path.glob("log-*"))
    listed = place.optimizer("keys", "list").stdout
    assert "revoked" in listed
    assert "shop" in listed
    assert key.split("_")[2] not in listed
