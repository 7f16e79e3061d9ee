"""What a client shows to its server: a key or token that it was given, or that of a sign-in."""

from __future__ import annotations

import os
from collections.abc import Mapping

from .credentials import CredentialStore
from .errors import ClientError
from .sign_in import renewed

VARIABLE = "MODELYARD_TOKEN"


class Authority:
    """The header `Authorization` for one server.

    `token` is an API key or a token; else the variable MODELYARD_TOKEN counts, else what `modelyard
    login` has stored for this server, renewed before it expires.
    """

    def __init__(self, url: str, token: str | None, store: CredentialStore) -> None:
        self._url = url
        self._given = token if token is not None else os.environ.get(VARIABLE)
        if self._given and not (self._given.isascii() and self._given.isprintable()):
            raise ClientError(
                f"What is given as {VARIABLE} or token is no key: it has odd letters."
            )
        self._store = store

    async def headers(self) -> Mapping[str, str]:
        """Empty if there is nothing to show. Raises ClientError's family."""
        if self._given is not None:
            return _bearer(self._given) if self._given else {}
        found = await renewed(self._url, self._store)
        return {} if found is None else _bearer(found.token)


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
