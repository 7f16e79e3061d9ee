"""Sets of keys as issuers write them, without an issuer."""

import pytest
from yard_issuer import rsa_key

from modelyard.api.access.signatures import SigningKeys


@pytest.mark.parametrize(
    ("altered", "usable"),
    [
        ({"kty": ["RSA"]}, 1),
        ({"kty": {}}, 1),
        ({"key_ops": 5}, 1),
        ({"key_ops": "verify"}, 1),
        ({"key_ops": [["verify"]]}, 1),
        ({"alg": ["RS256"]}, 1),
        ({"alg": {}}, 1),
        ({"n": 5}, 1),
        ({"e": ""}, 1),
        ({"use": None, "alg": None, "key_ops": None}, 2),
    ],
)
def test_an_odd_key_of_a_set_spoils_no_other(altered, usable):
    """The members that are null are not given: some issuers write them so."""
    odd, good = (rsa_key(name).as_dict(private=False) for name in ("odd", "good"))
    found = SigningKeys({"keys": [{**odd, **altered}, good]})
    assert len(found.thumbprints) == usable
