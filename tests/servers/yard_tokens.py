"""What the front knows of an issuer's tokens, opened without a server."""

from contextlib import asynccontextmanager

from yard_issuer import AUDIENCE

from modelyard.api.access.token_port import open_tokens
from modelyard.settings import load_settings

GRANTS = {
    "group:readers": "read",
    "group:birders": "predict train model:birds",
    "scope:yard": "predict",
    "subject:root-1": "read predict train manage",
}


def settings_of(issuer, **more):
    return load_settings(
        {
            "oidc_issuer": issuer.url,
            "oidc_audience": AUDIENCE,
            "oidc_permissions": GRANTS,
            **more,
        },
        environ={},
    )


@asynccontextmanager
async def opened(issuer, **more):
    changes = []
    tokens = open_tokens(settings_of(issuer, **more), lambda: changes.append(1))
    tokens.changes = changes
    await tokens.open()
    try:
        yield tokens
    finally:
        await tokens.close()


async def holder(tokens, token):
    return tokens.settled(token) or await tokens.looked_for(token)
