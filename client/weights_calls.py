"""Weights versions: listed, labelled, named, brought to the shared store and back, deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from .calls import LONGEST_PAGE, Calls, new_key
from .errors import ClientError, Conflict, RequestRefused, TimedOut
from .reading import mapping, sequence
from .transport import Call, path_of
from .weights import Alias, Weights, WeightsPage

Watch = Callable[[Weights], None]
"""Called with the version as it is on its way. Runs in the client's loop."""
_ASK_EVERY_S = 0.3
PRODUCTION = "production"
"""The alias of what predictions use that name no version."""


class Unset:
    """Stands for what is not to be changed, where None says something."""


UNSET = Unset()


class WeightsCalls(Calls):
    """What `AsyncClient` has for weights versions; `version` is an id or an alias."""

    async def weights(
        self,
        model: str,
        *,
        limit: int | None = None,
        tag: str | None = None,
        state: str | None = None,
    ) -> list[Weights]:
        """The weights versions of a model, newest first: all or the newest `limit`; only those
        with a tag or in a state (`publishing`, `ready`, `failed`)."""
        found: list[Weights] = []
        cursor: str | None = None
        while limit is None or len(found) < limit:
            page = await self.weights_page(
                model, limit=min(limit or LONGEST_PAGE, LONGEST_PAGE), cursor=cursor, tag=tag,
                state=state,
            )  # fmt: skip
            found.extend(page.items)
            cursor = page.cursor
            if cursor is None:
                break
        return found[:limit]

    async def weights_page(
        self,
        model: str,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        tag: str | None = None,
        state: str | None = None,
    ) -> WeightsPage:
        """One page of them; `cursor` is that of the page before."""
        query = {"limit": limit, "cursor": cursor, "tag": tag, "state": state}
        data, following = await self._page(self._weights(model, ""), query)
        items = sequence(mapping(data, "list of weights").get("weights"), "weights")
        given = (following or {}).get("cursor")
        return WeightsPage(
            tuple(Weights.from_data(model, item) for item in items), given[0] if given else None
        )

    async def weights_version(self, model: str, version: str) -> Weights:
        """One weights version, by its id or an alias (`latest`, `production`, ...)."""
        return Weights.from_data(model, await self._get(self._weights(model, version)))

    async def change_weights(
        self,
        model: str,
        version: str,
        *,
        tags: Sequence[str] | None = None,
        notes: str | Unset | None = UNSET,
    ) -> Weights:
        """Sets all tags of a version, or its notes (None removes them); what is not given stays."""
        body: dict[str, Any] = {} if tags is None else {"tags": list(tags)}
        if not isinstance(notes, Unset):
            body["notes"] = notes
        path = self._weights(model, version)
        return Weights.from_data(model, await self._send("PATCH", path, body, idempotent=True))

    async def delete_weights(self, model: str, version: str) -> None:
        """Deletes a version, in the shared store too. Raises Conflict, which says who needs it."""
        await self._delete(self._weights(model, version))

    # -- aliases ------------------------------------------------------------------------------

    async def aliases(self, model: str) -> list[Alias]:
        """The names of a model's versions, `latest` first."""
        data = mapping(await self._get(self._weights(model, "aliases", "")), "list of aliases")
        return [Alias.from_data(item) for item in sequence(data.get("aliases"), "aliases")]

    async def set_alias(self, model: str, alias: str, version: str) -> Alias:
        """Has an alias name a version. `production` moves the predictions that name none."""
        path = self._weights(model, "aliases", alias)
        return Alias.from_data(await self._send("PUT", path, {"version": version}))

    async def divide_alias(
        self,
        model: str,
        alias: str,
        weights: Mapping[str, float],
        *,
        shadow: str | None = None,
        shadow_share: float = 1.0,
    ) -> Alias:
        """Divides calls between versions by weight; the first is the alias's own. `shadow` gets
        copies of a part of the calls, that nobody waits for."""
        path = self._weights(model, "aliases", alias)
        shares = [{"version": one, "weight": weight} for one, weight in weights.items()]
        body = {"versions": shares, "shadow": shadow, "shadow_share": shadow_share}
        return Alias.from_data(await self._send("PUT", path, body))

    async def remove_alias(self, model: str, alias: str) -> None:
        """Has an alias name nothing any more."""
        await self._delete(self._weights(model, "aliases", alias))

    async def roll_back(self, model: str, alias: str = PRODUCTION) -> Alias:
        """Has an alias name again what it named before. Raises Conflict if there is nothing."""
        path = self._weights(model, "aliases", alias, "rollback")
        return Alias.from_data(await self._send("POST", path, headers=new_key()))

    # -- the shared store ---------------------------------------------------------------------

    async def retry_weights(self, model: str, version: str) -> Weights:
        """Has the server try now to bring a version to its store. What the store has is read again
        there, and what is missing or wrong is put again. Raises Conflict if the store has it and
        that server has not, or there is no store."""
        path = self._weights(model, version, "retry")
        return Weights.from_data(model, await self._send("POST", path, idempotent=True))

    async def push_weights(
        self,
        model: str,
        version: str,
        *,
        mend: bool = False,
        timeout_s: float | None = None,
        watch: Watch | None = None,
    ) -> Weights:
        """The version once the server's shared store has it; it is tried now, whatever the server
        waits for. `watch` is called as it goes on. With `mend`, what the store has of it already
        is read again there, and what is missing or wrong is put again.

        Raises Conflict if the server has no store (with `mend`: or not the version's files),
        RequestRefused if the version cannot be published, with the reason, and TimedOut; the server
        goes on trying.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return await self._pushed(model, version, mend, watch)
        except TimeoutError as error:
            told = f"The version {version} is not in the store after {timeout_s:g} s."
            raise TimedOut(f"{told} The server goes on trying.") from error

    async def _pushed(self, model: str, version: str, mend: bool, watch: Watch | None) -> Weights:
        now = await self.weights_version(model, version)
        if mend or not now.stored:
            try:
                now = await self.retry_weights(model, now.id)
            except Conflict as error:
                if mend or "store" in error.details:
                    raise  # else an older server, which does not tell that the store has it
        while now.state != "ready":
            if watch is not None:
                watch(now)
            if now.state == "failed":
                raise RequestRefused(now.reason or "The version cannot be published.")
            await asyncio.sleep(_ASK_EVERY_S)
            now = await self.weights_version(model, now.id)
        return now

    async def pull_weights(
        self, model: str, version: str, *, watch: Watch | None = None
    ) -> Weights:
        """The version once its files are on the server's own disk: fetched from the shared store
        if they are not, verified. `watch` is called as it goes on."""
        path = self._weights(model, version, "fetch")
        call = Call("POST", path, idempotent=True, endless=True)
        fetching = asyncio.ensure_future(self._transport.json(call))
        try:
            while watch is not None:
                done, _ = await asyncio.wait([fetching], timeout=_ASK_EVERY_S)
                if done:
                    break
                with suppress(ClientError):
                    watch(await self.weights_version(model, version))
            return Weights.from_data(model, await fetching)
        finally:
            fetching.cancel()

    # -- inner --------------------------------------------------------------------------------

    @staticmethod
    def _weights(model: str, *parts: str) -> str:
        return path_of("v2", "models", model, "weights", *parts)
