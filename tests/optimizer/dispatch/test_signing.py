from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from optimizer.dispatch.signing import TOLERANCE_S, Signer
from optimizer.errors import InvalidInput

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
NOW_S = 1_768_000_000.0


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1), st.binary())
def test_what_we_sign_is_what_the_reference_library_signs(message_id: str, body: bytes) -> None:
    at = datetime.fromtimestamp(NOW_S, UTC)
    text = base64.b64encode(body).decode()
    theirs = Webhook(SECRET).sign(message_id, at, text)
    ours = Signer(SECRET).headers(message_id, int(NOW_S), text.encode())
    assert ours["webhook-signature"] == theirs
    assert Signer(SECRET).verified(ours, text.encode(), NOW_S) == message_id


def test_any_of_several_signatures_is_enough_while_a_secret_is_changed() -> None:
    old, new = Signer(base64.b64encode(b"o" * 24).decode()), Signer(SECRET)
    headers = new.headers("m", int(NOW_S), b"{}")
    both = f"{old.headers('m', int(NOW_S), b'{}')['webhook-signature']} {headers['webhook-signature']}"
    for signer in (old, new):
        assert signer.verified(headers | {"webhook-signature": both}, b"{}", NOW_S) == "m"


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "other"},
        {"webhook-id": ""},
        {"webhook-timestamp": str(int(NOW_S) + 1)},
        {"webhook-timestamp": str(int(NOW_S) - TOLERANCE_S - 2)},
        {"webhook-timestamp": "soon"},
        {"webhook-timestamp": "9" * 5000},
        {"webhook-timestamp": "١٢٣"},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1,é"},
    ],
)
def test_what_was_changed_is_not_recognised(change: dict[str, str]) -> None:
    headers = Signer(SECRET).headers("m", int(NOW_S), b"{}")
    assert Signer(SECRET).verified(headers | change, b"{}", NOW_S) is None
    assert Signer(SECRET).verified(headers, b"{} ", NOW_S) is None


def test_another_version_or_secret_is_not_recognised() -> None:
    headers = Signer(SECRET).headers("m", int(NOW_S), b"{}")
    other = headers | {"webhook-signature": headers["webhook-signature"].replace("v1,", "v1a,")}
    assert Signer(SECRET).verified(other, b"{}", NOW_S) is None
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + base64.b64encode(b"x" * 32).decode()).verify(b"{}", headers)


def test_what_was_signed_too_long_ago_may_be_a_repetition() -> None:
    headers = Signer(SECRET).headers("m", int(NOW_S), b"{}")
    for later_s, known in ((TOLERANCE_S, "m"), (TOLERANCE_S + 1, None), (-TOLERANCE_S, "m"), (-TOLERANCE_S - 1, None)):
        assert Signer(SECRET).verified(headers, b"{}", NOW_S + later_s) == known


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_ä", "not base64!"])
def test_a_secret_needs_its_form(secret: str) -> None:
    with pytest.raises(InvalidInput):
        Signer(secret)
