"""The keys of an issuer, and signatures by them: the only file that knows joserfc.

The algorithms are fixed here. A token names one, but a key of the issuer has to fit it: nothing
symmetric, no `none`, and no key that the token itself brings or points at (`jwk`, `jku`, `x5u`,
`x5c`: RFC 8725 section 3). Runs in the front; only where there is an issuer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

ALGORITHMS: Mapping[str, tuple[str, str | None]] = {
    **{f"{kind}{bits}": ("RSA", None) for kind in ("RS", "PS") for bits in (256, 384, 512)},
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
    "Ed25519": ("OKP", "Ed25519"),
}
"""Type and curve of the keys that each needs."""
_MEMBERS = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_CLASSES: Mapping[str, Any] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
_RSA_BITS = range(2048, 8192 + 1)
_MOST_KEYS = 64
_TRIED = 4
"""A token without `kid` is tried with so many keys."""
_TOKEN = re.compile(rb"[A-Za-z0-9_-]{1,8192}\.[A-Za-z0-9_-]{1,32768}\.[A-Za-z0-9_-]{1,2048}")


class UnknownKey(Exception):
    """No key of these fits what the token names."""


class BadToken(Exception):
    """Not a token that one of these keys has signed."""


class _Key(NamedTuple):
    kid: str | None
    kind: str
    curve: str | None
    algorithm: str | None
    public: Any

    def fits(self, algorithm: str) -> bool:
        return (self.kind, self.curve) == ALGORITHMS[algorithm] and self.algorithm in (
            None,
            algorithm,
        )


class _Registry(jws.JWSRegistry):
    """Members of a header that nobody knows say nothing (RFC 7515 section 4), unless critical."""

    max_header_length = 8192

    def __init__(self) -> None:
        super().__init__(algorithms=list(ALGORITHMS), strict_check_header=False)


class SigningKeys:
    """The public keys of a JWK set (RFC 7517) that may sign tokens."""

    def __init__(self, document: Any) -> None:
        """Keys of other kinds and uses are passed over. Raises ValueError if none is left."""
        listed = document.get("keys") if isinstance(document, Mapping) else None
        if not isinstance(listed, list):
            raise ValueError("it is no JWK set")
        self._keys = [key for one in listed[:_MOST_KEYS] if (key := _read(one)) is not None]
        if not self._keys:
            raise ValueError("it has no key that could sign a token here")
        self._registry = _Registry()
        self.thumbprints = frozenset((key.kid, key.public.thumbprint()) for key in self._keys)

    def verified(self, token: bytes) -> dict[str, Any]:
        """The claims of a token that one of the keys has signed.

        Raises BadToken, and UnknownKey if a key that is not here may have signed it.
        """
        header = read_header(token)
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
            raise BadToken("its algorithm is not one of the allowed")
        if "crit" in header or not _is_access_token(header.get("typ")):
            raise BadToken("its header is that of another kind of token")
        for key in self._candidates(algorithm, kid):
            try:
                found = jws.deserialize_compact(token, key.public, registry=self._registry)
            except (JoseError, ValueError, TypeError):
                continue
            return _claims(found.payload)
        raise BadToken("its signature is not valid")

    def _candidates(self, algorithm: str, kid: Any) -> Sequence[_Key]:
        fitting = [key for key in self._keys if key.fits(algorithm)]
        if kid is not None:
            fitting = [key for key in fitting if key.kid == kid]
        if not fitting:
            raise UnknownKey
        return fitting[:_TRIED]


def read_header(token: bytes) -> dict[str, Any]:
    """The header of a token, of which nothing is verified. Raises BadToken."""
    if _TOKEN.fullmatch(token) is None:
        raise BadToken("it is no signed JWT")
    try:
        header = jws.extract_compact(token, registry=_Registry()).headers()
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise BadToken("its header cannot be read") from error
    return dict(header)


def unverified_claims(token: bytes) -> dict[str, Any]:
    """What a token says of itself, by which nobody may be let in. Raises BadToken."""
    try:
        payload = jws.extract_compact(token, registry=_Registry()).payload
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise BadToken("it cannot be read") from error
    return _claims(payload)


def _claims(payload: bytes) -> dict[str, Any]:
    try:
        claims = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise BadToken("its claims are no JSON") from error
    if not isinstance(claims, dict):
        raise BadToken("its claims are no JSON object")
    return claims


def _is_access_token(kind: Any) -> bool:
    """By `typ` (RFC 9068 section 2.1, RFC 8725 section 3.11); most issuers still write `JWT`."""
    return kind is None or (
        isinstance(kind, str) and kind.lower().removeprefix("application/") in ("jwt", "at+jwt")
    )


def _read(one: Any) -> _Key | None:
    """One key of a set; None if it is of no use here (RFC 7517 section 5: the others are). Private
    members are left behind; some issuers write null for those that they do not give."""
    if not isinstance(one, Mapping):
        return None
    one = {name: value for name, value in one.items() if value is not None}
    kind, kid, algorithm = one.get("kty"), one.get("kid"), one.get("alg")
    operations = one.get("key_ops", ["verify"])
    if not isinstance(kind, str) or kind not in _MEMBERS:
        return None
    if one.get("use", "sig") != "sig" or not isinstance(operations, list):
        return None
    if "verify" not in operations:
        return None
    if algorithm is not None and not (isinstance(algorithm, str) and algorithm in ALGORITHMS):
        return None
    try:
        public = _CLASSES[kind].import_key({"kty": kind, **{n: one[n] for n in _MEMBERS[kind]}})
        if kind == "RSA" and public.raw_value.key_size not in _RSA_BITS:
            return None
        curve = None if kind == "RSA" else public.curve_name
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return _Key(kid if isinstance(kid, str) else None, kind, curve, algorithm, public)
