"""Whether there are tokens of an issuer: `oidc_issuer`, with a library that is an extra."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ...errors import InvalidSettings
from ...settings.checks import refuse
from ...settings.oidc import OidcSettings
from ...settings.together import oidc_faults
from .code_flow import CodeFlow
from .principal import Principal


class TokenPort(Protocol):
    """What the gate does with them. See `oidc.py`."""

    flow: CodeFlow | None
    """How browsers sign in at the issuer; None: they do not."""

    async def open(self) -> None:
        """Begins to fetch the issuer's keys."""

    async def close(self) -> None:
        """Ends that."""

    def is_one(self, text: str) -> bool:
        """Whether it has the form of a token."""

    def settled(self, token: str) -> Principal | None:
        """Who holds it, as far as that is known without asking the issuer."""

    async def looked_for(self, token: str) -> Principal | None:
        """The same, and asks the issuer. Raises IssuerUnavailable."""

    def refusal(self, token: str) -> str:
        """Why it is not valid, as far as its sender may know."""

    def review(self) -> None:
        """Forgets what has expired; called once a second."""


def open_tokens(settings: OidcSettings, changed: Callable[[], None]) -> TokenPort | None:
    """The tokens of the issuer; None without one.

    Raises InvalidSettings, also if the extra is not installed.
    """
    refuse(oidc_faults(settings))
    if settings.oidc_issuer is None:
        return None
    try:
        # Only here: the library takes some 17 MB.
        from .oidc import Tokens
    except ImportError as error:
        raise InvalidSettings(
            f"oidc_issuer needs joserfc, which is not installed ({error}): "
            "pip install 'modelyard[oidc]'.",
            {"oidc_issuer": ["pip install 'modelyard[oidc]'"]},
        ) from error
    return Tokens(settings, changed)
