"""Who makes a request, and what they may do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from aiohttp import web

from ...errors import MissingPermission
from ...schemas.permissions import EVERYTHING, Permission


@dataclass(frozen=True)
class Principal:
    """`name` is who is recorded and counted, as `key:alice`; empty for everybody under open access.

    `credential` is which of their keys it was, and `label` what a person is called, for the audit
    log; `shown` is what they showed. `models` None: all. `by_permission` has the models of each
    permission where they differ; `models` then are those of any.
    """

    name: str
    permissions: frozenset[Permission]
    models: frozenset[str] | None = None
    credential: str = ""
    label: str = ""
    shown: str = "key"
    by_permission: Mapping[Permission, frozenset[str] | None] = field(
        default_factory=dict, hash=False
    )

    @classmethod
    def of_grants(
        cls,
        name: str,
        grants: Iterable[tuple[frozenset[Permission], frozenset[str] | None]],
        **more: str,
    ) -> Principal:
        """Who has been given these permissions, each with the models of its grant (None: all)."""
        models: dict[Permission, frozenset[str] | None] = {}
        for permissions, of in grants:
            for one in permissions:
                known = models.get(one, frozenset())
                models[one] = None if of is None or known is None else known | of
        alike = len(set(models.values())) <= 1
        named = [of for of in models.values() if of is not None]
        everything = len(named) < len(models)
        every = None if everything else frozenset[str]().union(*named)
        return cls(name, frozenset(models), every, by_permission={} if alike else models, **more)

    def acting(self, permission: Permission) -> Principal:
        """The same with the models for which they have this permission. Who asks of it for another
        one, too, gets that one's."""
        if not self.by_permission:
            return self
        return replace(self, models=self.by_permission.get(permission, frozenset()))

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
                f"Your {self.shown} does not have the permission {str(permission)!r}.",
                permission=str(permission),
            )

    def check_model(self, model: str) -> None:
        """Raises MissingPermission, naming the model."""
        if not self.sees(model):
            raise MissingPermission(
                f"Your {self.shown} is not for the model {model!r}.", model=model
            )

    def check_every_model(self) -> None:
        """For what concerns all models. Raises MissingPermission."""
        if self.models is not None:
            raise MissingPermission(
                f"This concerns all models, and your {self.shown} is only for: "
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
