"""Who makes a request, and what they may do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from aiohttp import web

from ...errors import MissingPermission
from ...schemas.permissions import EVERYTHING, Permission


@dataclass(frozen=True)
class Principal:
    """`name` is who is recorded and counted, as `key:alice`; empty for everybody under open access.

    `credential` is which of their keys it was, for the audit log. `models` None: all.
    """

    name: str
    permissions: frozenset[Permission]
    models: frozenset[str] | None = None
    credential: str = ""

    def sees(self, model: str) -> bool:
        """Whether they may know of this model."""
        return self.models is None or model in self.models

    def visible(self, models: Iterable[str]) -> list[str]:
        """Those of these models that they may know of."""
        return [model for model in models if self.sees(model)]

    def check(self, permission: Permission) -> None:
        """Raises MissingPermission, naming it."""
        if permission not in self.permissions:
            raise MissingPermission(
                f"Your key does not have the permission {str(permission)!r}.",
                permission=str(permission),
            )

    def check_model(self, model: str) -> None:
        """Raises MissingPermission, naming the model."""
        if not self.sees(model):
            raise MissingPermission(f"Your key is not for the model {model!r}.", model=model)

    def check_every_model(self) -> None:
        """For what tells of all models. Raises MissingPermission."""
        if self.models is not None:
            raise MissingPermission(
                "This tells of all models, and your key is only for: "
                f"{', '.join(sorted(self.models))}."
            )


ANYBODY = Principal("", EVERYTHING)
"""Under open access."""
NOBODY = Principal("", frozenset(), frozenset())
"""Who has not said who they are, where that matters."""

PRINCIPAL = web.RequestKey("principal", Principal)


def principal_of(request: web.Request) -> Principal:
    """Who makes this request; `NOBODY` on a public address without a valid key."""
    return request.get(PRINCIPAL, NOBODY)


def caller_of(request: web.Request) -> str:
    """What a limit per client counts by: the principal, else the address."""
    return principal_of(request).name or request.remote or ""
