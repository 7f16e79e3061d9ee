"""What each kind of setting takes, and what is told of anything else: setting, fault, remedy."""

import math

import pytest

from modelyard.errors import InvalidSettings
from modelyard.settings import SettingsSchema, load_settings
from modelyard.settings.models import ModelSettingsSchema
from modelyard.settings.numbers import MOST_BYTES, Amount, Count, Size, written_size

NUMBERS = {n: f for n, f in SettingsSchema().fields.items() if isinstance(f, Count | Amount | Size)}
OF_MODELS = {
    n: f for n, f in ModelSettingsSchema().fields.items() if isinstance(f, Count | Amount | Size)
}
NO_NUMBERS = ["", " ", "x", "ten", "1,5", "1e400", "inf", "-inf", "nan", math.inf, math.nan, True,
              None, [], [1], {}, "9" * 5000, "-1", -1, "1 2", "\0"]  # fmt: skip


def refusal(flags):
    with pytest.raises(InvalidSettings) as caught:
        load_settings(flags, {})
    return caught.value.message


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: repr(value)[:20])
def test_what_is_no_number_is_refused_with_what_is_one(value):
    for name, declared in NUMBERS.items():
        told = refusal({name: value})
        assert f"  {name}: " in told, name
        if value is not None:
            assert ("512MB" if isinstance(declared, Size) else "Write a ") in told, (name, told)
    for name in OF_MODELS:
        assert f"  models: m: {name}: " in refusal({"models": {"m": {name: value}}})


def test_numbers_are_taken_from_the_least_to_the_most_and_no_further():
    for name, declared in NUMBERS.items():
        least, most = declared.least, getattr(declared, "most", MOST_BYTES)
        for number in (least, most):
            assert getattr(load_settings({name: str(number)}, {}), name) == number, name
        beyond = [most * 2 + 1, *([least / 2] if isinstance(declared, Amount) else [])]
        if getattr(declared, "zero", ""):
            assert getattr(load_settings({name: "0"}, {}), name) == 0
            beyond += [least // 2] if least > 1 else []
        elif least > 0:
            beyond.append(0)
        for number in beyond:
            told = refusal({name: f"{number:.10g}" if isinstance(number, float) else str(number)})
            assert f"  {name}: " in told
            shown = written_size(least) if isinstance(declared, Size) else f"{least:.10g}"
            assert f" {shown} to " in told, (name, told)


def test_a_whole_number_is_not_rounded_to():
    for name, declared in NUMBERS.items():
        if isinstance(declared, Count | Size):
            refusal({name: 2.7})
            refusal({name: "2.7"})


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512M", 512 << 20),
        ("512MB", 512 << 20),
        ("512 mib", 512 << 20),
        ("2GiB", 2 << 30),
        ("1.5g", 3 << 29),
        ("1T", 1 << 40),
        ("67108864", 64 << 20),
        ("67108864B", 64 << 20),
        ("0", 0),
        (0, 0),
    ],
)
def test_sizes_are_understood_in_the_forms_that_people_write(text, size):
    assert load_settings({"memory_limit": text}, {}).memory_limit == size


@pytest.mark.parametrize("text", ["1", "63M", "512X", "512 M B", "M", "1.5", "-1G", "2000T", "1PB"])
def test_other_sizes_are_told_with_those_forms(text):
    told = refusal({"memory_limit": text})
    assert "memory_limit: " in told and "512MB, 2G or 2GiB" in told
    if text in ("1", "63M", "2000T"):
        assert "take 64M to 1024T, or 0 (no limit)" in told


@pytest.mark.parametrize("text", ["", " ", "\0", "a\nb", "a\x1bb"])
def test_a_text_that_says_nothing_or_steers_a_terminal_is_refused(text):
    names = ("home", "data", "tls_cert", "tls_key", "log_file", "oidc_web_secret_file", "host")
    more = ("storage", "oidc_client_id", "oidc_login_scopes", "oidc_groups_claim", "tracing")
    lists = ("model_name", "allowed_hosts", "oidc_audience", "dataset_sources", "trusted_proxies")
    for name in (*names, *more, *lists, "allowed_origins", "oidc_clients", "oidc_permissions"):
        assert f"  {name}: " in refusal({name: text}), name
    for name in ("python", "weights_folder", "keep_best_by", "urls", "device"):
        assert f"  models: m: {name}: " in refusal({"models": {"m": {name: text}}}), name


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("model_name", "a,,b", "A name is empty: take out the comma too many"),
        ("model_name", ["a", "b", "a"], "'a' is named twice"),
        ("model_name", [5], "Write names"),
        ("allowed_hosts", "a/b", "'a/b' is no name of a host: write it alone, such as yard."),
        ("allowed_hosts", "https://a.example", "without https://, a port, a path or *."),
        ("allowed_hosts", "a.example:80", "without https://, a port"),
        ("allowed_hosts", "*.example.org", "is no name of a host"),
        ("allowed_hosts", "a..b", "is no name of a host"),
        ("allowed_hosts", "A.example,a.example.", "'a.example' is named twice"),
        ("allowed_origins", "https://*.example.org", "each name by itself, or *."),
        ("host", "127.0.0.1:5000", "the port is a setting of its own"),
        ("host", "*", "0.0.0.0 for all of this machine"),
        ("host", "http://127.0.0.1", "is no address to listen on"),
        ("host", "256.0.0.1", "is no address to listen on"),
        ("host", "0", "is no address to listen on"),
        ("home", "~nobody-of-that-name/x", "There is no user '~nobody-of-that-name' here"),
        ("base_path", "/a/../b", "write it like /models/a"),
        ("base_path", "/.", "write it like /models/a"),
        ("base_path", "//a", "write it like /models/a"),
        ("base_path", "/a?b", "write it like /models/a"),
        ("dataset_sources", "/etc", "write s3://bucket or s3://bucket/prefix"),
        ("dataset_sources", "s3://", "write s3://bucket"),
        ("dataset_sources", "s3://bucket/a/../b", "write s3://bucket"),
        ("dataset_sources", "s3://bucket//b", "write s3://bucket"),
        ("device", "cuda:-1", "give auto, cpu, cuda or cuda:N"),
        ("device", "cuda:1.5", "give auto, cpu, cuda or cuda:N"),
        ("tracing", "127.0.0.1:4318", "write it like http://127.0.0.1:4318"),
        ("tracing", "http://me:canary@127.0.0.1", "OTEL_EXPORTER_OTLP_HEADERS"),
        ("oidc_permissions", "x", "'x' gives nobody anything. Write \"group:NAME\""),
        ("oidc_permissions", "group:a=read,group:a=train", "group:a is named twice"),
        ("warm", "perhaps", "Not a valid boolean"),
        ("access", "nobody", "Must be one of: keys, open."),
        ("models", {"m": {"env": {"A=B": "x"}}}, "models: m: env: 'A=B' cannot be a variable"),
        ("models", {"m": {"env": {"": "x"}}}, "models: m: env: '' cannot be a variable"),
        ("models", {"m": {"env": {"A": "x\0"}}}, "The value of A holds a NUL"),
        ("models", {"m": {"keep_best_by": "-"}}, "Name the metric behind the minus"),
        ("models", {"m": {"memory_limit": 1}}, "take 64M to 1024T"),
        ("models", {"": {}}, "It is empty"),
    ],
)
def test_what_is_nonsense_is_told_with_what_would_be_right(setting, value, told):
    message = refusal({setting: value})
    assert f"  {setting}: " in message and told in message
    assert "canary" not in message


@pytest.mark.parametrize(
    ("setting", "value", "taken"),
    [
        ("host", "[::1]", "::1"),
        ("host", "my-machine.example", "my-machine.example"),
        ("allowed_hosts", "Yard.Example.org., 192.0.2.1", ("yard.example.org", "192.0.2.1")),
        (
            "allowed_origins",
            "HTTPS://A.example:443/, http://b:80, https://c:80",
            ("https://a.example", "http://b", "https://c:80"),
        ),
        ("base_path", "/models/a.b~c/", "/models/a.b~c"),
        ("base_path", "/", ""),
        ("dataset_sources", "s3://bucket, s3://other/a/b/", ("s3://bucket", "s3://other/a/b/")),
        ("device", "cuda:15", "cuda:15"),
        ("tracing", "http://127.0.0.1:4318", "http://127.0.0.1:4318"),
    ],
)
def test_what_is_right_is_taken(setting, value, taken):
    assert getattr(load_settings({setting: value}, {}), setting) == taken
