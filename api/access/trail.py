"""What becomes of a request in the audit log; the file is written in a thread, one line after the
other. Runs in the front."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from ...records.audit import CHANGES, REFUSED, AuditLog
from .patience import Patience
from .principal import Principal

log = logging.getLogger(__name__)

_REFUSED_AT_ONCE = 200
_REFUSED_PER_S = 10
_SIGN_INS_AT_ONCE = 100
_SIGN_INS_PER_S = 0.1
"""Of one caller: who may only read is not to push out what others have changed."""


class Trail:
    """Writes the audit log. A disk that is full is told in the server's log: the change has been
    made by then."""

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit
        self._patience = Patience(_REFUSED_AT_ONCE, _REFUSED_PER_S)
        self._left_out = 0
        self._sign_ins = Patience(_SIGN_INS_AT_ONCE, _SIGN_INS_PER_S)
        self._sign_ins_left_out = 0

    async def changed(self, principal: Principal, /, **told: Any) -> None:
        """A change of state that `principal` asked for."""
        await self._write(CHANGES, **_who(principal), **told)

    async def signed_in(self, principal: Principal, /, **told: Any) -> None:
        """A session that `principal` has begun; beyond a rate only counted, in the next such line,
        whoever that is of."""
        if not self._sign_ins.bears(principal.name):
            self._sign_ins_left_out += 1
            return
        left_out, self._sign_ins_left_out = self._sign_ins_left_out, 0
        more = {"left_out": left_out} if left_out else {}
        await self.changed(principal, **told, **more)

    async def refused(self, principal: Principal | None, /, **told: Any) -> None:
        """A request that was not allowed; beyond a rate only counted, in the next line."""
        if not self._patience.bears(""):
            self._left_out += 1
            return
        left_out, self._left_out = self._left_out, 0
        more = {"left_out": left_out} if left_out else {}
        await self._write(REFUSED, **_who(principal), **told, **more)

    async def _write(self, name: str, /, **told: Any) -> None:
        try:
            await asyncio.shield(asyncio.to_thread(self._audit.write, name, **told))
        except OSError as error:
            log.error("the audit log cannot be written: %s; not in it: %s", error, told)


def _who(principal: Principal | None) -> dict[str, Any]:
    if principal is None:
        return {"principal": None}
    who: dict[str, Any] = {"principal": principal.name or "anybody"}
    told = {"credential": principal.credential, "label": principal.label}
    return {**who, **{name: value for name, value in told.items() if value}}
