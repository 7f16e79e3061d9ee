"""What a client does to sign in and out; part of `AsyncClient`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from .calls import Calls
from .credentials import Credential, CredentialStore
from .errors import ClientError, NotFound
from .reading import mapping
from .sign_in import Challenge, end, sign_in
from .transport import Call, path_of


class SignInCalls(Calls):
    """Signing in at the issuer that the server names, and keeping what it gives."""

    _credentials: CredentialStore

    async def sign_in(
        self, show: Callable[[Challenge], None], *, client_id: str | None = None
    ) -> None:
        """Signs in by device authorization (RFC 8628), and keeps the token in a file of the user's.

        `show` is called once with the address and the code for the person, who has as long as the
        issuer says. Raises NotPermitted if they refuse, TimedOut if the code expires, and
        ClientError if the server takes API keys only.
        """
        call = Call("GET", path_of(".well-known", "oauth-protected-resource"), anonymous=True)
        try:
            told = mapping(await self._transport.json(call), "sign-in document")
        except NotFound:
            told = {"authorization_servers": []}  # a server of a release without tokens
        self._credentials.put(self._transport.url, await sign_in(told, show, client_id))

    def keep_key(self, key: str) -> None:
        """Keeps an API key for this server in the same file."""
        self._credentials.put(self._transport.url, Credential(key))

    async def sign_out(self) -> bool:
        """Forgets what is kept for this server; False if nothing was. The issuer is told, if it
        can be reached."""
        found = self._credentials.find(self._transport.url)
        if found is None:
            return False
        self._credentials.put(self._transport.url, None)
        with contextlib.suppress(ClientError):
            await end(found)
        return True
