"""One-click unsubscribing (RFC 8058): a page with a button for people, and the same POST for their mail programs.

Whatever follows links in messages, to check them, only ever gets the page: it is the POST that unsubscribes. The token
in the address is the whole right to it; what the body says does not matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from optimizer.errors import NotFound
from optimizer.unsubscribing import PATH, TRIAL, named

if TYPE_CHECKING:
    from optimizer.tenants import Tenants

router = APIRouter(tags=["unsubscribe"], default_response_class=HTMLResponse)

_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="robots" content="noindex">
<title>Unsubscribe</title></head>
<body>
<h1>Unsubscribe</h1>
{inside}
</body>
</html>
"""
_ASK: Final = """\
<p>Press the button, and you get no more messages like the one that led you here.</p>
<form method="post"><input type="hidden" name="List-Unsubscribe" value="One-Click">
<button type="submit">Unsubscribe</button></form>"""
_DONE: Final = "<p>You are unsubscribed: you get no more messages like the one that led you here.</p>"
_TEST: Final = "<p>That message was a test: unsubscribing from it changes nothing.</p>"


@router.get(PATH + "{token}")
def unsubscribe_page(token: str, request: Request) -> HTMLResponse:
    """The page that a link in a message leads to, with a button. It changes nothing."""
    if token == TRIAL:
        return _page(_TEST + _ASK)
    _found(token, request)
    return _page(_ASK)


@router.post(PATH + "{token}")
def unsubscribe(token: str, request: Request) -> HTMLResponse:
    """Unsubscribe the recipient of the message that the token stands in. Doing it again changes nothing."""
    if token == TRIAL:
        return _page(_TEST)
    tenants, (tenant, decision_id) = _found(token, request)
    try:
        tenants.engine(tenant).unsubscribe(decision_id)
    except NotFound:
        raise _nowhere() from None
    return _page(_DONE)


def _found(token: str, request: Request) -> tuple[Tenants, tuple[str, str]]:
    """The decision that a token names. Raises NotFound."""
    tenants: Tenants = request.app.state.tenants
    found = named(tenants.first.runtime.secret, token)
    if found is None:
        raise _nowhere()
    return tenants, found


def _nowhere() -> NotFound:
    return NotFound("This link leads nowhere.")


def _page(inside: str) -> HTMLResponse:
    return HTMLResponse(_PAGE.format(inside=inside))
