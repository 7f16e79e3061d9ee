"""Who calls by gRPC, and whether they may: the metadata `authorization`, as HTTP's header."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from google.protobuf.message import Message

from ...errors import NotPermitted, NotSignedIn
from ...schemas.permissions import Permission
from ..access.principal import NOBODY
from ..errors import kind_of, status_of
from ..metrics import GRPC
from ..services import Services
from .call import GrpcCall

Method = Callable[[Services, GrpcCall], Awaitable[Message]]


def admitted(route: str, method: Method, needed: Permission) -> Method:
    """The method for those who have the permission; raises NotSignedIn and MissingPermission."""

    async def handle(here: Services, call: GrpcCall) -> Message:
        try:
            found = await here.gate.admitted(call.authorizations, call.client)
            call.principal = found.acting(needed)
            call.principal.check(needed)
            return await method(here, call)
        except (NotSignedIn, NotPermitted) as error:
            if status_of(error) in (401, 403):
                await here.trail.refused(
                    None if call.principal is NOBODY else call.principal,
                    peer=call.client,
                    method=GRPC,
                    route=route,
                    model=call.model,
                    status=status_of(error),
                    why=kind_of(error),
                )
            raise

    return handle
