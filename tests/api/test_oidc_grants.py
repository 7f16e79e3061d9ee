"""What holders of tokens may do, by the settings; and what the settings may say."""

import pytest
from yard_issuer import Issuer
from yard_tokens import holder, opened, settings_of

from modelyard.api.access.token_port import open_tokens
from modelyard.errors import InvalidSettings
from modelyard.schemas.permissions import Permission
from modelyard.settings import load_settings


@pytest.fixture(scope="module")
def issuer():
    found = Issuer()
    yield found
    found.close()


def may(principal, permission, model):
    acting = principal.acting(Permission(permission))
    return Permission(permission) in acting.permissions and acting.sees(model)


async def test_groups_and_scopes_give_what_the_settings_say_each_for_its_models(issuer):
    async with opened(issuer) as tokens:
        found = await holder(tokens, issuer.token(scope="openid", groups=["birders", "readers"]))
        told = {
            (p, m): may(found, p, m)
            for p in ("read", "predict", "train", "manage")
            for m in ("birds", "cats")
        }
        assert told == {
            ("read", "birds"): True, ("read", "cats"): True,
            ("predict", "birds"): True, ("predict", "cats"): False,
            ("train", "birds"): True, ("train", "cats"): False,
            ("manage", "birds"): False, ("manage", "cats"): False,
        }  # fmt: skip
        only = await holder(tokens, issuer.token(scope="x", groups=["birders"]))
        assert only.models == {"birds"}
        nothing = await holder(tokens, issuer.token(scope="x", groups=["others"]))
        assert nothing.permissions == frozenset() and nothing.name.startswith("oidc:alice-1@")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"groups": "birders", "scope": None}, {"predict", "train"}),
        ({"groups": None, "scope": ["yard"]}, {"predict"}),
        ({"groups": None, "scope": None, "scp": ["yard", 7]}, {"predict"}),
        ({"groups": {"birders": 1}, "scope": None}, set()),
        ({"groups": ["Readers", " readers", "read"], "scope": "YARD"}, set()),
        ({"sub": "root-1", "groups": None, "scope": None}, {"read", "predict", "train", "manage"}),
    ],
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value),
)
async def test_claims_of_other_forms_give_what_they_say_and_no_more(issuer, changed, expected):
    async with opened(issuer) as tokens:
        assert (await holder(tokens, issuer.token(**changed))).permissions == expected


@pytest.mark.parametrize(
    ("claim", "claims"),
    [
        ("realm_access.roles", {"realm_access": {"roles": ["readers"]}}),
        ("https://lab.example/groups", {"https://lab.example/groups": ["readers"]}),
    ],
)
async def test_groups_may_be_in_any_claim(issuer, claim, claims):
    async with opened(issuer, oidc_groups_claim=claim) as tokens:
        found = await holder(tokens, issuer.token(scope="x", groups=None, **claims))
        assert found.permissions == {"read"}


async def test_a_name_cannot_forge_a_line_of_a_log(issuer):
    async with opened(issuer) as tokens:
        found = await holder(tokens, issuer.token(preferred_username="a\r\nb" + "x" * 500))
        assert found.label.startswith("a??b") and len(found.label) == 100


# -- settings ----------------------------------------------------------------------------------


def test_the_table_may_be_a_text_too():
    text = "group:a=b=read predict, scope:s=train model:birds,anybody=read"
    found = load_settings({"oidc_permissions": text}, environ={}).oidc_permissions
    assert found["group:a=b"].permissions == {"read", "predict"}
    assert found["scope:s"] == ({"train"}, {"birds"}) and found["anybody"].models is None


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"oidc_issuer": "http://id.example"}, "https"),
        ({"oidc_issuer": "http://localhost.example"}, "https"),
        ({"oidc_issuer": "https://a:b@id.example"}, "Not an issuer"),
        ({"oidc_issuer": "https://id.example?x=1"}, "Not an issuer"),
        ({"oidc_issuer": "ftp://127.0.0.1"}, "https"),
        ({"oidc_permissions": {"readers": "read"}}, "nobody"),
        ({"oidc_permissions": {"group:": "read"}}, "nobody"),
        ({"oidc_permissions": {"group:a": "write"}}, "no permission"),
        ({"oidc_permissions": {"group:a": "model:b"}}, "No permission"),
        ({"oidc_permissions": {"group:a": "read model:../x"}}, "no permission"),
        ({"oidc_permissions": {"group:a": ["read", 7]}}, "Write"),
        ({"oidc_permissions": ["read"]}, "Write"),
        ({"oidc_permissions": "group:a"}, "nobody"),
    ],
    ids=str,
)
def test_settings_that_are_wrong_are_told(wrong, why):
    with pytest.raises(InvalidSettings) as told:
        load_settings(wrong, environ={})
    assert why in str(told.value) and next(iter(wrong)) in str(told.value)


@pytest.mark.parametrize("missing", ["oidc_audience", "oidc_permissions"])
def test_an_issuer_alone_is_not_enough(issuer, missing):
    with pytest.raises(InvalidSettings, match=missing):
        open_tokens(settings_of(issuer, **{missing: {} if "perm" in missing else []}), print)


def test_a_wrong_table_names_the_entry():
    with pytest.raises(InvalidSettings) as told:
        load_settings({"oidc_permissions": {"group:a": "reed"}}, environ={})
    assert "group:a" in str(told.value) and "reed" in str(told.value)
