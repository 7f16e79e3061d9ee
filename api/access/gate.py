"""Knows who may call: the keys of the home as they are now, and the tokens of an issuer if the
settings name one. Runs in the front, on its loop.

`modelyard keys` writes the records while this server runs. Once a second the database is asked
whether another process has changed it (SQLite's `data_version`), and the keys are read again if so;
a key that is not known is looked for at once. `generation` grows with each change that may matter,
also when a key or token expires: whoever has kept an answer compares it.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from datetime import UTC, datetime

from ...errors import IssuerUnavailable, NotSignedIn, StorageUnavailable
from ...records.keys import KeyRecord, all_keys, data_version, note_use, parse_key
from ...records.store import RecordStore
from ...settings import Settings
from .patience import Patience
from .principal import ANYBODY, Principal
from .token_port import TokenPort, open_tokens

log = logging.getLogger(__name__)

_LOOK_S = 1.0
_REVIEW_S = 600.0
"""Kept answers are asked for anew after so long, which tells when keys were used last."""
_MISSES_AT_ONCE, _MISSES_PER_S = 50, 20
"""Keys that are not known and may be looked for, over all callers: each costs a question to the
database whether it has changed."""
_WRONG_AT_ONCE, _WRONG_PER_S = 30, 1
_WRONG_RETRY_S = 10.0
_BEARER = re.compile(r"bearer +(\S+)", re.IGNORECASE)
_WRONG = "The key that was sent is not valid: it may be mistyped, revoked or expired."


class Gate:
    """Opened with the application. `generation` is read by the lane for each call."""

    def __init__(self, settings: Settings, store: RecordStore) -> None:
        self.generation = 0
        self._store = store
        self._keyless = settings.access == "open" or settings.is_loopback
        self._keys: dict[str, KeyRecord] = {}
        self._version: int | None = None
        self._valid: frozenset[str] = frozenset()
        self._used: dict[str, datetime] = {}
        self._misses = Patience(_MISSES_AT_ONCE, _MISSES_PER_S)
        self._wrong = Patience(_WRONG_AT_ONCE, _WRONG_PER_S)
        self._reading = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None
        self.tokens: TokenPort | None = open_tokens(settings, self._changed)

    async def open(self) -> None:
        """Reads the keys, and begins to look for changes. Raises StorageUnavailable."""
        await self._read()
        if self.tokens is not None:
            await self.tokens.open()
        self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Ends looking, and records when keys were used."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        if self.tokens is not None:
            await self.tokens.close()
        await self._record_use()

    @property
    def closed(self) -> bool:
        """Whether callers have to say who they are. A home with a key, be it an ended one, asks."""
        return bool(self._keys) or self.tokens is not None or not self._keyless

    def settled(self, authorization: str | None) -> Principal | None:
        """Who sends this header, as far as that is known without asking anybody; None: not so."""
        if not self.closed:
            return ANYBODY
        match = _BEARER.fullmatch(authorization) if authorization else None
        return None if match is None else self._holder(match[1])

    async def admitted(self, authorizations: Sequence[str], peer: str) -> Principal:
        """Who sends these headers (there may be one) from the address `peer`.

        Raises NotSignedIn; when wrong keys come from there again and again, with a time to wait,
        and without looking. Raises IssuerUnavailable if a token cannot be verified at present.
        """
        if not self.closed:
            return ANYBODY
        if not authorizations:
            raise NotSignedIn
        if len(authorizations) == 1:
            found = self.settled(authorizations[0]) or await self._looked_for(authorizations[0])
            if found is not None:
                return found
        if not self._wrong.bears(peer):
            told = "Too many wrong keys came from your address."
            raise NotSignedIn(told, presented=True, retry_after_s=_WRONG_RETRY_S)
        if len(authorizations) > 1:
            raise NotSignedIn("The header Authorization was sent twice.", presented=True)
        if _BEARER.fullmatch(authorizations[0]) is None:
            told = "The header Authorization is to read `Bearer KEY`."
            raise NotSignedIn(told, presented=True)
        raise NotSignedIn(self._why(authorizations[0]), presented=True)

    async def known(self, authorizations: Sequence[str]) -> Principal | None:
        """The same where nobody has to say who they are; None: nobody who is known."""
        if not self.closed:
            return ANYBODY
        if len(authorizations) != 1:
            return None
        try:
            return self.settled(authorizations[0]) or await self._looked_for(authorizations[0])
        except IssuerUnavailable:
            return None

    async def shown(self, text: str, peer: str) -> Principal | None:
        """Who has this key, also where nobody needs one yet: the home's first may have been made a
        moment ago. None: it is no key (a token, say). Raises NotSignedIn as `admitted` does."""
        found = await self.admitted([f"Bearer {text}"], peer)
        if found is ANYBODY:
            await self._looked_for(f"Bearer {text}")
            found = await self.admitted([f"Bearer {text}"], peer)
        return self.holder_of(found.credential)

    def holder_of(self, key_id: str) -> Principal | None:
        """Who has the key of this id, if it is valid now."""
        key = self._keys.get(key_id)
        now = datetime.now(UTC)
        if key is None or key.state(now) != "valid":
            return None
        self._used[key_id] = now
        return Principal(f"key:{key.name}", key.scopes, key.models, key.id)

    # -- keys ---------------------------------------------------------------------------------

    def _changed(self) -> None:
        self.generation += 1

    def _why(self, authorization: str) -> str:
        text = _BEARER.sub(r"\1", authorization)
        if self.tokens is not None and self.tokens.is_one(text):
            return self.tokens.refusal(text)
        return _WRONG

    def _holder(self, text: str) -> Principal | None:
        if self.tokens is not None and self.tokens.is_one(text):
            return self.tokens.settled(text)
        parsed = parse_key(text)
        key = None if parsed is None else self._keys.get(parsed[0])
        if key is None or parsed is None or not key.opens_with(parsed[1]):
            return None
        return self.holder_of(key.id)

    async def _looked_for(self, authorization: str) -> Principal | None:
        """A key that was made a moment ago, or a token that the issuer has to be asked about."""
        match = _BEARER.fullmatch(authorization)
        if match is not None and self.tokens is not None and self.tokens.is_one(match[1]):
            return await self.tokens.looked_for(match[1])
        parsed = None if match is None else parse_key(match[1])
        if parsed is None or parsed[0] in self._keys or not self._misses.bears(""):
            return None
        try:
            await self._read_if_changed()
        except StorageUnavailable as error:
            log.warning("the keys cannot be read: %s", error)
            return None
        return self.settled(authorization)

    async def _read_if_changed(self) -> None:
        if await self._store.read(data_version) != self._version:
            await self._read()

    async def _read(self) -> None:
        async with self._reading:
            version, keys = await self._store.read(lambda c: (data_version(c), all_keys(c)))
            self._version = version
            before, self._keys = self._keys, {key.id: key for key in keys}
            if {i: _fixed(k) for i, k in before.items()} != {
                i: _fixed(k) for i, k in self._keys.items()
            }:
                self.generation += 1
                log.info("keys: %d, callers %s", len(keys), "need one" if self.closed else "free")
            self._review()

    def _review(self) -> None:
        """Whether a key has expired, or the clock was set back."""
        now = datetime.now(UTC)
        valid = frozenset(key.id for key in self._keys.values() if key.state(now) == "valid")
        if valid != self._valid:
            self._valid = valid
            self.generation += 1

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        reviewed, told = loop.time(), ""
        while True:
            await asyncio.sleep(_LOOK_S)
            self._review()
            if self.tokens is not None:
                self.tokens.review()
            try:
                await self._read_if_changed()
                if loop.time() - reviewed > _REVIEW_S:
                    reviewed = loop.time()
                    self.generation += 1
                    await self._record_use()
                told = ""
            except Exception as error:  # also what nobody thought of: it is to go on looking
                if told != str(error):
                    told = str(error)
                    log.error("changes of keys are not seen at present: %s", error)

    async def _record_use(self) -> None:
        used, self._used = self._used, {}
        if used:
            try:
                await self._store.write(lambda connection: note_use(connection, used))
            except StorageUnavailable as error:
                log.warning("when keys were used is not recorded: %s", error)


def _fixed(key: KeyRecord) -> tuple[object, ...]:
    """All of a key but when it was used."""
    return (key.digest, key.name, key.scopes, key.models, key.expires_at, key.revoked_at)
