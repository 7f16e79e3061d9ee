"""Tokens of an issuer: which are taken, from a real issuer with real keys."""

import asyncio
import hmac
import time

import pytest
from yard_issuer import AUDIENCE, Issuer, ec_key, ed_key, part, rsa_key, signed
from yard_tokens import holder, opened

from modelyard.api.access import oidc
from modelyard.api.access.issuer import Issuer as Issuers
from modelyard.api.access.issuer import IssuerFault
from modelyard.errors import IssuerUnavailable
from modelyard.schemas.permissions import Permission


@pytest.fixture(scope="module")
def issuer():
    found = Issuer()
    found.keys.update(
        ec=ec_key("ec"),
        ec384=ec_key("ec384", "P-384"),
        ed=ed_key("ed"),
        small=rsa_key("small", 1024),
    )
    found.keys["later"], found.keys["never"] = rsa_key("later"), rsa_key("never")
    found.shown = ["one", "ec", "ec384", "ed", "small"]
    yield found
    found.close()


@pytest.fixture(autouse=True)
def as_it_was(issuer):
    yield
    issuer.shown = ["one", "ec", "ec384", "ed", "small"]
    issuer.answers, issuer.metadata, issuer.calls_itself = {}, {}, None
    issuer.pauses_s = {}
    issuer.start() if issuer._runner is None else None


async def until(true, limit_s=30):
    deadline = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline, "it did not come about"
        await asyncio.sleep(0.02)


async def test_a_good_token_tells_who_its_holder_is_and_what_they_may(issuer):
    async with opened(issuer) as tokens:
        found = await holder(tokens, issuer.token())
    assert found.name == f"oidc:alice-1@{issuer.url.removeprefix('http://')}"
    assert found.label == "alice"
    assert found.permissions == {Permission.READ, Permission.PREDICT} and found.models is None


@pytest.mark.parametrize(
    ("key", "alg"),
    [
        ("one", "RS256"), ("one", "RS384"), ("one", "RS512"), ("one", "PS256"), ("one", "PS512"),
        ("ec", "ES256"), ("ec384", "ES384"), ("ed", "EdDSA"), ("ed", "Ed25519"),
    ],
)  # fmt: skip
async def test_each_allowed_algorithm_is_taken(issuer, key, alg):
    async with opened(issuer) as tokens:
        assert await holder(tokens, issuer.token(key, alg)) is not None


HOUR = 3600
WRONG_CLAIMS = [
    ({"iss": "https://other.example"}, "another issuer"),
    ({"iss": None}, "another issuer"),
    ({"aud": "somebody-else"}, "another audience"),
    ({"aud": ["a", "b"]}, "another audience"),
    ({"aud": None}, "another audience"),
    ({"aud": {AUDIENCE: 1}}, "another audience"),
    ({"exp": -HOUR}, "expired"),
    ({"exp": None}, "no time at which"),
    ({"exp": "soon"}, "no time in exp"),
    ({"exp": True}, "no time in exp"),
    ({"exp": float("inf")}, "no time in exp"),
    ({"exp": float("nan")}, "no time in exp"),
    ({"exp": 10**400}, "no time in exp"),
    ({"nbf": HOUR}, "not valid yet"),
    ({"iat": HOUR}, "not valid yet"),
    ({"sub": None}, "whose it is"),
    ({"sub": 7}, "whose it is"),
    ({"sub": ""}, "whose it is"),
    ({"sub": "a\nb"}, "whose it is"),
    ({"sub": "a" * 256}, "whose it is"),
    ({"typ": "ID"}, "no access token"),
    ({"typ": "Refresh"}, "no access token"),
    ({"typ": ["Bearer"]}, "no access token"),
    ({"at_hash": "x"}, "no access token"),
    ({"events": {}}, "no access token"),
    ({"cnf": {"jkt": "x"}}, "bound to a key"),
]


@pytest.mark.parametrize(("changed", "why"), WRONG_CLAIMS, ids=str)
async def test_each_wrong_claim_is_refused_and_told_to_its_holder(issuer, changed, why):
    now = time.time()
    for name in ("exp", "nbf", "iat"):
        if name in changed and isinstance(changed[name], int) and abs(changed[name]) == HOUR:
            changed = {name: int(now) + changed[name]}
    async with opened(issuer) as tokens:
        await holder(tokens, issuer.token())
        token = issuer.token(**changed)
        assert await holder(tokens, token) is None
        assert why in tokens.refusal(token)


async def test_clocks_may_differ_by_some_seconds(issuer):
    now = int(time.time())
    async with opened(issuer) as tokens:
        assert await holder(tokens, issuer.token(exp=now - 10)) is not None
        assert await holder(tokens, issuer.token(nbf=now + 10, iat=now + 10)) is not None


async def test_a_token_is_only_for_allowed_clients_where_some_are_named(issuer):
    async with opened(issuer, oidc_clients="web,cli") as tokens:
        assert await holder(tokens, issuer.token(azp="cli")) is not None
        assert await holder(tokens, issuer.token(azp=None, client_id="web")) is not None
        for changed in ({"azp": "other"}, {"azp": None}, {"azp": "other", "client_id": "cli"}):
            token = issuer.token(**changed)
            assert await holder(tokens, token) is None and "client" in tokens.refusal(token)


def hs256(claims, secret):
    body = f"{part({'alg': 'HS256', 'kid': 'one', 'typ': 'JWT'})}.{part(claims)}"
    return f"{body}.{part(hmac.digest(secret, body.encode(), 'sha256'))}"


FORGED = {
    "none": lambda i: f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(i.claims())}.",
    "none with a signature": lambda i: f"{part({'alg': 'none'})}.{part(i.claims())}.AAAA",
    "None": lambda i: f"{part({'alg': 'nOnE', 'kid': 'one'})}.{part(i.claims())}.AAAA",
    "no alg": lambda i: f"{part({'kid': 'one'})}.{part(i.claims())}.AAAA",
    "alg a list": lambda i: f"{part({'alg': ['RS256'], 'kid': 'one'})}.{part(i.claims())}.AAAA",
    "HS256 by the public key": lambda i: hs256(i.claims(), i.keys["one"].as_pem(private=False)),
    "HS256 by the key's DER": lambda i: hs256(i.claims(), i.keys["one"].as_der(private=False)),
    "HS256 by the modulus": lambda i: hs256(i.claims(), i.keys["one"].as_dict()["n"].encode()),
    "HS256 by nothing": lambda i: hs256(i.claims(), b""),
    "another key of this kid": lambda i: signed(
        {"alg": "RS256", "kid": "one"}, i.claims(), i.keys["never"]
    ),
    "the key it brings": lambda i: signed(
        {"alg": "RS256", "kid": "one", "jwk": i.keys["never"].as_dict(private=False)},
        i.claims(), i.keys["never"],
    ),
    "the key it brings, without kid": lambda i: signed(
        {"alg": "ES256", "jwk": i.keys["ec"].as_dict(private=False)}, i.claims(), ec_key("x")
    ),
    "the keys it points at": lambda i: signed(
        {"alg": "RS256", "kid": "never", "jku": i.url + "/others", "x5u": i.url + "/others"},
        i.claims(), i.keys["never"],
    ),
    "an unpublished key": lambda i: i.token("never"),
    "a small key": lambda i: i.token("small"),
    "an algorithm of other keys": lambda i: signed(
        {"alg": "ES256", "kid": "one"}, i.claims(), i.keys["ec"]
    ),
    "another curve": lambda i: signed({"alg": "ES256", "kid": "ec384"}, i.claims(), i.keys["ec"]),
    "kid a path": lambda i: i.token("one", header={"kid": "../../one"}),
    "kid a list": lambda i: f"{part({'alg': 'RS256', 'kid': ['one']})}.{part(i.claims())}.AAAA",
    "critical extension": lambda i: i.token(header={"crit": ["exp"], "exp": 1}),
    "unencoded payload": lambda i: i.token(header={"crit": ["b64"], "b64": True}),
    "a logout token": lambda i: i.token(header={"typ": "logout+jwt"}),
    "an ID token's typ": lambda i: i.token(header={"typ": "id_token+jwt"}),
    "a changed claim": lambda i: changed_payload(i.token(), i.claims(sub="root-1")),
    "a cut signature": lambda i: i.token()[:-4],
    "no signature": lambda i: i.token().rpartition(".")[0] + ".",
    "padding": lambda i: i.token() + "=",
    "a space in base64": lambda i: i.token()[:5] + "%20" + i.token()[5:],
    "claims a list": lambda i: signed({"alg": "RS256", "kid": "one"}, b"[1]", i.keys["one"]),
    "claims no JSON": lambda i: signed({"alg": "RS256", "kid": "one"}, b"{", i.keys["one"]),
    "deep claims": lambda i: signed(
        {"alg": "RS256", "kid": "one"}, b"[" * 20_000, i.keys["one"]
    ),
    "deep header": lambda i: f"{part(b'[' * 6000)}.{part(i.claims())}.AAAA",
    "huge": lambda i: i.token(padding="x" * 100_000),
    "dots": lambda i: "..",
    "not ASCII": lambda i: "\u00e9.\udce9.x",
}  # fmt: skip


def changed_payload(token, claims):
    head, _, signature = token.split(".")
    return f"{head}.{part(claims)}.{signature}"


@pytest.mark.parametrize("kind", FORGED)
async def test_what_the_issuer_has_not_signed_so_is_refused_without_a_word_why(issuer, kind):
    async with opened(issuer) as tokens:
        await holder(tokens, issuer.token())
        token = FORGED[kind](issuer)
        assert await holder(tokens, token) is None
        assert tokens.refusal(token) == oidc.BAD
        assert issuer.asked["others"] == 0, "an address of the token was asked"


async def test_the_forgeries_are_refused_for_what_they_are_and_not_for_their_form(issuer):
    """The same with a key and algorithm that are allowed are good: the makers above make tokens."""
    async with opened(issuer) as tokens:
        assert await holder(tokens, signed({"alg": "RS256", "kid": "one"}, issuer.claims(),
                                           issuer.keys["one"])) is not None  # fmt: skip
        assert await holder(tokens, issuer.token(header={"jku": issuer.url, "typ": "at+jwt",
                                                         "unheard-of": 1})) is not None  # fmt: skip
        assert await holder(tokens, issuer.token(padding="x" * 10_000)) is not None


async def test_a_token_without_kid_is_tried_with_the_keys_that_fit(issuer):
    async with opened(issuer) as tokens:
        assert await holder(tokens, issuer.token(header={"kid": None})) is not None
        assert await holder(tokens, signed({"alg": "RS256"}, issuer.claims(),
                                           issuer.keys["never"])) is None  # fmt: skip


async def test_a_new_key_is_fetched_when_a_token_names_it_and_an_old_one_ends_with_it(
    issuer, monkeypatch
):
    monkeypatch.setattr(oidc, "_AGAIN_S", 0.2)
    async with opened(issuer) as tokens:
        old, new = issuer.token(), issuer.token("later")
        assert await holder(tokens, old) is not None
        assert await holder(tokens, new) is None
        issuer.shown = ["later"]
        await asyncio.sleep(0.3)
        before = len(tokens.changes)
        assert await holder(tokens, new) is not None
        assert len(tokens.changes) > before, "whoever keeps answers is told"
        assert await holder(tokens, old) is None, "its key is withdrawn"


async def test_unknown_keys_make_few_questions(issuer):
    async with opened(issuer) as tokens:
        await holder(tokens, issuer.token())
        before = issuer.asked["keys"]
        for _ in range(50):
            assert await holder(tokens, issuer.token("never")) is None
        assert issuer.asked["keys"] - before <= 1
        foreign = [issuer.token("never", iss="https://other.example") for _ in range(5)]
        assert [await holder(tokens, one) for one in foreign] == [None] * 5


async def test_while_there_are_no_keys_the_answer_is_later_and_not_no(issuer):
    issuer.stop()
    async with opened(issuer) as tokens:
        with pytest.raises(IssuerUnavailable) as told:
            await holder(tokens, issuer.token())
        assert told.value.retry_after_s > 0
        issuer.start()

        async def found():
            try:
                return await holder(tokens, issuer.token())
            except IssuerUnavailable:
                return None

        deadline = time.monotonic() + 60
        while await found() is None:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)


async def test_keys_are_kept_while_the_issuer_is_down_but_not_for_ever(issuer, monkeypatch):
    monkeypatch.setattr(oidc, "_FRESH_S", 0.2)
    monkeypatch.setattr(oidc, "_AGAIN_S", 0.0)
    async with opened(issuer) as tokens:
        assert await holder(tokens, issuer.token()) is not None
        issuer.stop()
        await until(lambda: tokens._down)
        assert await holder(tokens, issuer.token()) is not None
        with pytest.raises(IssuerUnavailable):
            await holder(tokens, issuer.token("later"))
        monkeypatch.setattr(oidc, "_STALE_S", 0.0)
        with pytest.raises(IssuerUnavailable):
            await holder(tokens, issuer.token(jti="another"))


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("openid-configuration", (302, {"Location": "/realms/lab/keys"}, b"")),
        ("openid-configuration", (200, {}, b"[]")),
        ("openid-configuration", (200, {}, b"{" + b" " * 600_000 + b"}")),
        ("openid-configuration", (500, {}, b"")),
        ("keys", (302, {"Location": "http://127.0.0.1:1/"}, b"")),
        ("keys", (200, {}, b"<html>")),
        ("keys", (200, {}, b'{"keys": []}')),
        ("keys", (200, {}, b'{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "one"}]}')),
        ("keys", (200, {}, b'{"keys": [{"kty": "RSA", "n": "!", "e": "AQAB"}, 7]}')),
        ("keys", (200, {}, b"[" * 100_000)),
    ],
)
async def test_what_an_issuer_tells_wrongly_is_no_key(issuer, path, answer):
    issuer.answers[path] = answer
    async with opened(issuer) as tokens:
        await until(lambda: tokens._down)
        with pytest.raises(IssuerUnavailable):
            await holder(tokens, issuer.token())


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://other.example"},
        {"jwks_uri": "http://example.com/keys"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "//127.0.0.1/keys"},
        {"jwks_uri": 7},
        {"jwks_uri": "http://[::1"},
    ],
    ids=str,
)
async def test_the_issuer_has_to_be_itself_and_its_keys_at_a_safe_address(issuer, metadata, caplog):
    issuer.metadata = metadata
    async with opened(issuer) as tokens:
        await until(lambda: tokens._down)
        assert tokens._keys is None
    assert issuer.url in caplog.text or "not https" in caplog.text or "no address" in caplog.text


async def test_a_slow_issuer_keeps_nobody_waiting_for_long(issuer):
    issuer.pauses_s["keys"] = 20
    async with opened(issuer) as tokens:
        started = time.monotonic()
        with pytest.raises(IssuerUnavailable):
            await holder(tokens, issuer.token())
        assert time.monotonic() - started < 15


async def test_who_signs_in_while_the_issuer_is_slow_waits_for_no_stranger(issuer):
    """All who ask at one time get one answer, though it be a refusal: they do not queue for it."""
    name = "openid-configuration"
    issuer.pauses_s[name], issuer.answers[name] = 1, (503, {}, b"later")
    about = Issuers(issuer.url)
    issuer.asked.clear()
    try:
        told = await asyncio.gather(*(about.about() for _ in range(50)), return_exceptions=True)
    finally:
        await about.close()
    assert {type(one) for one in told} == {IssuerFault}
    assert issuer.asked[name] == 1


async def test_a_token_that_has_expired_is_forgotten_and_whoever_kept_it_is_told(issuer):
    async with opened(issuer) as tokens:
        token = issuer.token(exp=int(time.time()) - 28)  # two seconds are left of the leeway
        assert await holder(tokens, token) is not None
        before = len(tokens.changes)

        def told():
            tokens.review()
            return len(tokens.changes) > before

        await until(told)
        assert tokens.settled(token) is None
        assert await holder(tokens, token) is None and "expired" in tokens.refusal(token)


async def test_what_is_remembered_is_bounded(issuer, monkeypatch):
    monkeypatch.setattr(oidc, "_KEPT", 5)
    monkeypatch.setattr(oidc, "_REFUSED", 5)
    async with opened(issuer) as tokens:
        for number in range(12):
            assert await holder(tokens, issuer.token(sub=f"s{number}")) is not None
            assert await holder(tokens, issuer.token(sub=f"s{number}", aud="x")) is None
        assert len(tokens._kept) == 5 and len(tokens._refused) == 5
        before = len(tokens.changes)
        tokens.review()
        assert len(tokens.changes) == before + 1, "else the end of a forgotten one were not seen"
        tokens.review()
        assert len(tokens.changes) == before + 1
        assert (await holder(tokens, issuer.token(sub="s0"))).name.startswith("oidc:s0@")
