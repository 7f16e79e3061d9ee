"""An OpenID Connect issuer on loopback: real keys, metadata, tokens, RFC 8628 device sign-in.

It runs in a thread, can be stopped and started again at its port, and counts what it was asked.
"""

import asyncio
import base64
import hashlib
import json
import secrets
import threading
import time
from collections import Counter
from urllib.parse import urlencode

from aiohttp import web
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.registry import HeaderParameter

AUDIENCE = "modelyard-test"
CLIENT = "modelyard-cli"
WEB_CLIENT, WEB_SECRET = "modelyard-web", "a secret: with % and +"
REGISTRY = jws.JWSRegistry(
    {"exp": HeaderParameter("an extension of ours", "int")},
    algorithms=[*jws.JWSRegistry.algorithms],
    strict_check_header=False,
)


def rsa_key(kid="one", bits=2048):
    return RSAKey.generate_key(bits, {"kid": kid})


def ec_key(kid, curve="P-256"):
    return ECKey.generate_key(curve, {"kid": kid})


def ed_key(kid):
    return OKPKey.generate_key("Ed25519", {"kid": kid})


def part(value):
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(header, claims, key):
    """A compact JWS, also of kinds that nobody should make."""
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    return jws.serialize_compact(header, payload, key, registry=REGISTRY)


class Issuer:
    """`keys` by kid are those that it signs with; `shown` the ids of those that it publishes."""

    def __init__(self):
        self.keys = {"one": rsa_key()}
        self.shown = ["one"]
        self.asked = Counter()
        self.calls_itself = None
        self.metadata = {}
        self.answers = {}
        """What a path answers in place of what it should: (status, headers, body)."""
        self.pauses_s = {}
        self.device = {}
        """Device codes: what the token endpoint says of each."""
        self.refreshed = []
        self.codes = {}
        """Codes of browsers that have signed in: what was asked for with each."""
        self.says_no = None
        """What a person's browser brings back in place of a code: an error of RFC 6749."""
        self.id_changes = {}
        """What its ID tokens tell otherwise than they should."""
        self.token_changes = {}
        self.token_forms = []
        """What its token endpoint was sent by browsers' client."""
        self.gives = {}
        """What its token endpoint gives otherwise; None leaves a member out."""
        self.token_lasts_s = 300
        self.interval_s = 1
        self._port = 0
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._runner = None
        self.start()

    def start(self):
        self._call(self._open())
        self.url = f"http://127.0.0.1:{self._port}/realms/lab"

    def stop(self):
        """Its port refuses connections from now on."""
        if self._runner is not None:
            self._call(self._runner.cleanup())
            self._runner = None

    def close(self):
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)

    # -- tokens -------------------------------------------------------------------------------

    def claims(self, **changed):
        """What a good token says; a change to None leaves a claim out."""
        now = int(time.time())
        told = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "alice-1",
            "iat": now,
            "exp": now + 300,
            "azp": CLIENT,
            "scope": "openid yard",
            "groups": ["readers"],
            "preferred_username": "alice",
            "jti": secrets.token_hex(4),
        }
        return {name: value for name, value in {**told, **changed}.items() if value is not None}

    def token(self, key="one", alg="RS256", header=None, **changed):
        told = {"alg": alg, "kid": key, "typ": "JWT", **(header or {})}
        told = {name: value for name, value in told.items() if value is not None}
        return signed(told, self.claims(**changed), self.keys[key])

    def bearer(self, *args, **more):
        return {"Authorization": f"Bearer {self.token(*args, **more)}"}

    # -- its HTTP ------------------------------------------------------------------------------

    def _call(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _open(self):
        app = web.Application()
        app.router.add_get("/realms/lab/.well-known/openid-configuration", self._about)
        app.router.add_get("/realms/lab/keys", self._key_set)
        app.router.add_post("/realms/lab/device", self._device)
        app.router.add_get("/realms/lab/authorize", self._authorize)
        app.router.add_post("/realms/lab/token", self._token)
        app.router.add_post("/realms/lab/revoke", self._revoke)
        app.middlewares.append(self._count)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = site._server.sockets[0].getsockname()[1]

    @web.middleware
    async def _count(self, request, handler):
        name = request.path.rpartition("/")[2]
        self.asked[name] += 1
        await asyncio.sleep(self.pauses_s.get(name, 0))
        if name in self.answers:
            status, headers, body = self.answers[name]
            return web.Response(status=status, headers=headers, body=body)
        return await handler(request)

    async def _about(self, request):
        return web.json_response(
            {
                "issuer": self.calls_itself or self.url,
                "jwks_uri": self.url + "/keys",
                "device_authorization_endpoint": self.url + "/device",
                "authorization_endpoint": self.url + "/authorize",
                "token_endpoint": self.url + "/token",
                "revocation_endpoint": self.url + "/revoke",
                **self.metadata,
            }
        )

    async def _key_set(self, request):
        shown = [self.keys[kid].as_dict(private=False) for kid in self.shown]
        return web.json_response({"keys": shown})

    async def _device(self, request):
        form = await request.post()
        if form.get("client_id") != CLIENT:
            return web.json_response({"error": "invalid_client"}, status=401)
        code = secrets.token_urlsafe(24)
        self.device[code] = {"error": "authorization_pending", "scope": form.get("scope")}
        return web.json_response(
            {
                "device_code": code,
                "user_code": "WDJB-MJHT",
                "verification_uri": self.url + "/activate",
                "verification_uri_complete": self.url + "/activate?user_code=WDJB-MJHT",
                "expires_in": 600,
                "interval": self.interval_s,
            }
        )

    def approve(self):
        """The person says yes to whoever asks now."""
        for told in self.device.values():
            told.pop("error", None)

    def refuse(self, error):
        for told in self.device.values():
            told["error"] = error

    async def _authorize(self, request):
        """A person who has signed in here before, and says yes at once."""
        asked = dict(request.query)
        if asked["client_id"] != WEB_CLIENT or not asked["redirect_uri"].endswith(
            "/sign-in/callback"
        ):
            return web.Response(status=400, text="no such client, or it is not sent there")
        assert asked["response_type"] == "code" and "openid" in asked["scope"].split()
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(24)
        self.codes[code] = asked
        told = {"code": code} if self.says_no is None else {"error": self.says_no}
        told |= {"state": asked["state"], "iss": self.url}
        raise web.HTTPFound(f"{asked['redirect_uri']}?{urlencode(told)}")

    def _exchanged(self, request, form):
        """RFC 6749 section 4.1.3 and RFC 7636 section 4.6."""
        self.token_forms.append({**form, "Authorization": request.headers.get("Authorization")})
        asked = self.codes.pop(form.get("code"), None)
        verifier = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if asked is None or part(verifier) != asked["code_challenge"]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        if form.get("redirect_uri") != asked["redirect_uri"]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        told = {"aud": WEB_CLIENT, "azp": None, "nonce": asked["nonce"], "scope": None}
        return self._given(id_token=self.token(**{**told, **self.id_changes}))

    async def _token(self, request):
        form = await request.post()
        if form.get("grant_type") == "authorization_code":
            return self._exchanged(request, form)
        if form.get("grant_type") == "refresh_token":
            if form.get("refresh_token") not in self.refreshed[-1:]:
                return web.json_response({"error": "invalid_grant"}, status=400)
            return self._given()
        told = self.device.get(form.get("device_code"))
        if told is None:
            return web.json_response({"error": "invalid_grant"}, status=400)
        if "error" in told:
            error = told["error"]
            if error == "slow_down":
                told["error"] = "authorization_pending"
            return web.json_response({"error": error}, status=400)
        return self._given()

    def _given(self, **more):
        self.refreshed.append(secrets.token_urlsafe(24))
        exp = int(time.time()) + self.token_lasts_s
        told = {
            "access_token": self.token(**{"exp": exp, **self.token_changes}),
            "token_type": "Bearer",
            "expires_in": self.token_lasts_s,
            "refresh_token": self.refreshed[-1],
            **more,
            **self.gives,
        }
        return web.json_response({name: one for name, one in told.items() if one is not None})

    async def _revoke(self, request):
        form = await request.post()
        self.device["revoked"] = {"token": form.get("token")}
        return web.Response()
