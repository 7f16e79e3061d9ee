"""`/v2/models/{model}/weights/`: the versions that predictions can use, and their names."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from ..clearing import remove_tree
from ..errors import Conflict
from ..schemas.weights_resources import (
    AliasListSchema,
    AliasSchema,
    WeightsSchema,
)
from ..storage.aliases import Alias, Target, naming_in_words
from ..storage.weights import PRODUCTION, WeightsVersion
from ..training.promotion import promote
from .access.deeds import carry_out
from .access.principal import principal_of
from .idempotency import committed, done_before
from .responses import json_response
from .services import BODY, LOOK_S, QUERY, Services, model_name_of, services

DEFAULT_PAGE = 100


async def list_weights(request: web.Request) -> web.StreamResponse:
    """A page of a model's versions, newest first."""
    model = await model_name_of(request)
    here, query = services(request), request[QUERY]
    limit = query.get("limit", DEFAULT_PAGE)
    tag, state = query.get("tag"), query.get("state")
    page, following = await here.rooms.versions.page(model, limit, query.get("cursor"), tag, state)
    headers = {}
    if following is not None:
        asked = {"limit": limit, "cursor": following, "tag": tag, "state": state}
        given = urlencode({name: value for name, value in asked.items() if value is not None})
        headers["Link"] = f'<{here.url(request.path)}?{given}>; rel="next"'
    # Not through the schema, which takes a tenth of a millisecond for each: a test compares.
    data = [listed_data(here, version) for version in page]
    return json_response({"weights": data}, headers=headers)


async def get_weights(request: web.Request) -> web.StreamResponse:
    """One version, by its id or an alias."""
    return _answer(services(request), await version_of(request))


async def change_weights(request: web.Request) -> web.StreamResponse:
    """Sets tags and notes."""
    here, version = services(request), await version_of(request)
    labels: dict[str, Any] = request[BODY]

    async def change() -> web.Response:
        changed = await here.rooms.versions.label(version, labels)
        here.told()
        return _answer(here, changed)

    return await carry_out(request, change())


async def delete_weights(request: web.Request) -> web.StreamResponse:
    """Removes a version here and in the store, if nobody needs it."""
    here = services(request)
    if here.rooms.sync is not None:  # another server may have named it since the last round
        await here.rooms.sync.look(LOOK_S, fresh_s=0)
    version = await version_of(request)
    named = await here.rooms.aliases.naming(version.model, version.id)
    why = await here.rooms.users.why(version.model, version.id)
    if named:
        why = naming_in_words(named)
    if why is not None:
        raise Conflict(f"The version {version.id} cannot be deleted: {why}.")
    return await carry_out(request, _delete(here, version))


async def _delete(here: Services, version: WeightsVersion) -> web.Response:
    await here.rooms.keeper.delete(version)
    here.rooms.defaults.follow([version.model])
    return web.Response(status=204)


async def retry_weights(request: web.Request) -> web.StreamResponse:
    """Tries now to publish what could not be published; what the store has is mended there."""
    here, version = services(request), await version_of(request)
    return _answer(here, await here.rooms.keeper.retry(version))


async def promote_checkpoint(request: web.Request) -> web.StreamResponse:
    """Makes a version of a run's other checkpoint: 201, or 200 if there is one of it already."""
    model, here = await model_name_of(request), services(request)
    run_id, name = request.match_info["id"], request.match_info["name"]

    async def answer() -> web.Response:
        version, is_new = await _promote(here, model, run_id, name)
        data = weights_data(here, version)
        headers = {"Location": data["links"]["self"]}
        status = 201 if is_new else 200
        return json_response(data, WeightsSchema(), status=status, headers=headers)

    return await carry_out(request, answer())


async def _promote(
    here: Services, model: str, run_id: str, name: str
) -> tuple[WeightsVersion, bool]:
    async with here.runs.turns.hold(run_id):  # two who ask at once would make the same folder
        record = await here.runs.get(model, run_id)
        folder = await promote(here.runs.paths(record), name)
        try:
            known = await here.rooms.versions.find(model, folder.name)
            if known is not None:
                return known, False
            version = await here.rooms.versions.publish(folder)
        finally:
            await asyncio.to_thread(remove_tree, folder)
    await here.added(version)
    return version, True


async def fetch_weights(request: web.Request) -> web.StreamResponse:
    """Answers once the files of a version are on this disk, however long that takes."""
    here, version = services(request), await version_of(request)
    return _answer(here, await here.rooms.keeper.local(version))


async def list_aliases(request: web.Request) -> web.StreamResponse:
    """Every alias of a model that names a version."""
    model = await model_name_of(request)
    here = services(request)
    aliases = [_alias_data(here, model, one) for one in await here.rooms.aliases.list(model)]
    return json_response({"aliases": aliases}, AliasListSchema())


async def move_alias(request: web.Request) -> web.StreamResponse:
    """Has an alias name another version, or several; `production` moves the predictions as well."""
    model, alias = await model_name_of(request), request.match_info["alias"]
    here, body = services(request), request[BODY]
    shares = body.get("versions") or [{"version": body["version"], "weight": 1.0}]
    target = Target(
        [(share["version"], share["weight"]) for share in shares],
        body.get("shadow"),
        body["shadow_share"],
    )
    move = here.rooms.aliases.move(model, alias, target, principal_of(request).name)
    return await carry_out(request, _moved(here, model, move))


async def roll_back_alias(request: web.Request) -> web.StreamResponse:
    """Has an alias name again what it named before."""
    model, alias = await model_name_of(request), request.match_info["alias"]
    here = services(request)
    if done_before(request):
        now = [one for one in await here.rooms.aliases.list(model) if one.name == alias]
        if now:
            return _told_of(here, model, now[0])
    move = here.rooms.aliases.rollback(
        model, alias, principal_of(request).name, also=committed(request)
    )
    return await carry_out(request, _moved(here, model, move))


async def remove_alias(request: web.Request) -> web.StreamResponse:
    """Has an alias name nothing any more."""
    model, alias = await model_name_of(request), request.match_info["alias"]
    here = services(request)

    async def remove() -> web.Response:
        await here.rooms.aliases.remove(model, alias, principal_of(request).name)
        _follow(here, model, alias)
        return web.Response(status=204)

    return await carry_out(request, remove())


async def version_of(request: web.Request) -> WeightsVersion:
    """The version that the address names. Raises ModelNotFound or WeightsNotFound."""
    model = await model_name_of(request)
    return await services(request).version(model, request.match_info["id"])


def weights_data(here: Services, version: WeightsVersion) -> dict[str, Any]:
    """What a client sees of a version."""
    data = listed_data(here, version)
    return {**data, "created_at": version.created_at, "files": version.files}


def listed_data(here: Services, version: WeightsVersion) -> dict[str, Any]:
    """What a client sees of a version in a list: plain values, as WeightsSchema dumps them."""
    path = here.url(f"/v2/models/{version.model}/weights/{version.id}")
    links = {
        "self": path,
        "archive": f"{path}/archive",
        "card": f"{path}/card",
        "lineage": f"{path}/lineage",
        "exports": f"{path}/exports/",
    }
    if version.run is not None:
        links["run"] = here.url(f"/v2/models/{version.model}/train/{version.run}")
    sent = here.rooms.keeper.sent(version)
    return {
        "id": version.id,
        "model": version.model,
        "run": version.run,
        "origin": version.origin,
        "created_at": version.created_at.isoformat(),
        "state": version.state,
        "reason": version.reason,
        "attempts": version.attempts,
        "local": version.local,
        "stored": version.stored,
        "transfer": None if sent is None else {"done": sent[0], "total": sent[1]},
        "step": version.step,
        "checkpoint": version.checkpoint,
        "metrics": version.metrics,
        "size": version.size,
        "aliases": list(version.aliases),
        "tags": list(version.tags),
        "notes": version.notes,
        "parent": version.parent,
        "dataset": version.dataset,
        "links": links,
    }


def _answer(here: Services, version: WeightsVersion) -> web.Response:
    return json_response(weights_data(here, version), WeightsSchema())


async def _moved(here: Services, model: str, move: Awaitable[Alias]) -> web.Response:
    """The predictions go where the alias goes."""
    return _told_of(here, model, await move)


def _told_of(here: Services, model: str, alias: Alias) -> web.Response:
    _follow(here, model, alias.name)
    return json_response(_alias_data(here, model, alias), AliasSchema())


def _alias_data(here: Services, model: str, alias: Alias) -> dict[str, Any]:
    split = alias.split
    shares = split.shares if split is not None else ((alias.version, 1.0),)
    shadow = None if split is None else split.shadow
    divides = split is not None and alias.name == PRODUCTION and model in here.pool
    return {
        **vars(alias),
        "versions": [{"version": version, "weight": weight} for version, weight in shares],
        "shadow": shadow,
        "shadow_share": None if split is None or shadow is None else split.shadow_share,
        "problem": here.pool.get(model).traffic.problem if divides else None,
    }


def _follow(here: Services, model: str, alias: str) -> None:
    here.told()
    if alias == PRODUCTION:
        here.rooms.defaults.follow([model])
