"""Keys and passwords do not leave; what only resembles them does."""

from __future__ import annotations

import time

import pytest

from mahavishnu_session_buddy.redaction import without_secrets

KEYS = {
    "anthropic": "sk-ant-api03-" + "aB3_-" * 18,
    "openai": "sk-proj-" + "Ab1_" * 12,
    "openai, older": "sk-" + "a1B2" * 12,
    "openai, of an administrator": "sk-admin-" + "Ab1_" * 12,
    "openrouter": "sk-or-v1-" + "0f" * 32,
    "stripe": "sk_live_" + "4eC39HqLyjWDarjtT1zd",
    "stripe, restricted": "rk_live_" + "4eC39HqLyjWDarjtT1zd",
    "github": "ghp_" + "a" * 36,
    "github, fine": "github_pat_11" + "A1b2_" * 16,
    "github, app": "ghs_" + "Z9" * 18,
    "gitlab": "glpat-" + "x1Y2" * 5,
    "aws": "AKIAIOSFODNN7EXAMPLE",
    "google": "AIza" + "SyA1_-" * 6,
    "slack": "xoxb-123456789012-abcdefABCDEF",
    "slack, of an app": "xapp-1-A012-345-abcdef",
    "gitlab, runner": "glrt-" + "x1Y2" * 5,
    "stripe, webhook": "whsec_" + "a1B2" * 8,
    "google, client": "GOCSPX-" + "aB3_" * 7,
    "google, access": "ya29." + "aB3_" * 20,
    "hugging face": "hf_" + "abcDEF123" * 4,
    "npm": "npm_" + "abcDEF123" * 4,
    "pypi": "pypi-" + "AgEIcHlwaS5vcmc" * 2,
    "jwt, long": f"eyJ{'a' * 5000}.{'b' * 9000}.{'c' * 3000}",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
@pytest.mark.parametrize("frame", ["{}", "x {} y", "key={}", '"{}"', "({}),", "\n{}\n", "curl -H 'x: {}'"])
def test_keys_of_vendors_are_taken_out(key, frame):
    text = without_secrets(frame.format(key), ())
    assert key not in text
    assert key[-12:] not in text
    assert "[redacted]" in text


@pytest.mark.parametrize(
    "text",
    [
        "password=hunter22",
        "PASSWORD: 'hunter22 with blanks'",
        '"api_key": "hunter22"',
        "export DB_PASSWD=hunter22",
        "client-secret = hunter22",
        "ACCESS_TOKEN=hunter22;next",
        r"{\"token\": \"hunter22\"}",
    ],
)
def test_what_is_assigned_to_the_name_of_a_secret_is_taken_out(text):
    assert "hunter22" not in without_secrets(text, ())
    assert "[redacted]" in without_secrets(text, ())


def test_the_rest_of_the_line_stays():
    assert without_secrets("a password=hunter22, b", ()) == "a password=[redacted], b"


@pytest.mark.parametrize("value", ["x" * 800, '"' + "x" * 800 + '"', "'" + "x" * 800 + "'"])
def test_long_values_are_taken_out_whole(value):
    assert without_secrets(f"token={value} y", ()) == "token=[redacted] y"


@pytest.mark.parametrize("password", ["p@ss", "x" * 500])
def test_any_password_in_an_address_is_taken_out(password):
    assert without_secrets(f"https://me:{password}@host/x@y", ()) == "https://[redacted]@host/x@y"


def test_a_password_in_an_address_is_taken_out():
    text = "git clone https://me:hunter22@example.com/x.git"
    assert without_secrets(text, ()) == "git clone https://[redacted]@example.com/x.git"


@pytest.mark.parametrize("kind", ["RSA PRIVATE KEY", "PRIVATE KEY", "PGP PRIVATE KEY BLOCK"])
@pytest.mark.parametrize("end", ["\n-----END {}-----\nafter", ""])
def test_a_private_key_is_taken_out_also_where_its_end_is_missing(kind, end):
    key = f"before\n-----BEGIN {kind}-----\nMIIEow\nAbc=" + end.format(kind)
    text = without_secrets(key, ())
    assert text.count("\n") == key.count("\n")
    assert "MIIEow" not in text
    assert "Abc=" not in text
    assert text.startswith("before\n")
    assert text.endswith("after") == bool(end)


@pytest.mark.parametrize(
    "text",
    [
        "the tokenizer has 4096 tokens: 17 of them are new",
        "max_tokens: 4096",
        "a secret is what nobody tells",
        "see https://example.com/a:b@c?d=e",
        "task-force sk-etch npm run build",
        "sha256 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
        "mahavishnu mv1_k3f9a2b1: completed",
        "",
    ],
)
def test_what_is_no_secret_stays(text):
    assert without_secrets(text, ()) == text


def test_values_that_are_known_are_taken_out_wherever_they_are():
    assert without_secrets("a-tr0ub4dor-b", ("tr0ub4dor",)) == "a-[redacted]-b"


@pytest.mark.parametrize(
    "part",
    [
        "a-",
        "://",
        "eyJ",
        "-eyJ",
        "-eyJa.",
        "a.eyJa",
        'token="',
        "://:",
        "sk-ant-",
        "password",
        "token=",
        "-----BEGIN ",
        "https://a:",
        "'",
    ],
)
def test_no_text_keeps_it_busy(part):
    """A tenth of a megabyte is all it ever gets; this guards against a quadratic pattern, not for speed."""
    began = time.process_time()
    without_secrets(part * (100_000 // len(part)), ())
    assert time.process_time() - began < 5
