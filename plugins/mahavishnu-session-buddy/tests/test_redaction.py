"""Keys and passwords do not leave; what only resembles them does."""

from __future__ import annotations

import time

import pytest

from mahavishnu_session_buddy.redaction import without_secrets

KEYS = {
    "anthropic": "sk-ant-api03-" + "aB3_-" * 18,
    "openai": "sk-proj-" + "Ab1_" * 12,
    "openai, older": "sk-" + "a1B2" * 12,
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
    "hugging face": "hf_" + "abcDEF123" * 4,
    "npm": "npm_" + "abcDEF123" * 4,
    "pypi": "pypi-" + "AgEIcHlwaS5vcmc" * 2,
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
    ],
)
def test_what_is_assigned_to_the_name_of_a_secret_is_taken_out(text):
    assert "hunter22" not in without_secrets(text, ())
    assert "[redacted]" in without_secrets(text, ())


def test_the_rest_of_the_line_stays():
    assert without_secrets("a password=hunter22, b", ()) == "a password=[redacted], b"


def test_a_password_in_an_address_is_taken_out():
    text = "git clone https://me:hunter22@example.com/x.git"
    assert without_secrets(text, ()) == "git clone https://[redacted]@example.com/x.git"


@pytest.mark.parametrize("end", ["\n-----END RSA PRIVATE KEY-----\nafter", ""])
def test_a_private_key_is_taken_out_also_where_its_end_is_missing(end):
    text = without_secrets("before\n-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nAbc=" + end, ())
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
    "part", ["a-", "://", "eyJ", "-eyJa.", "sk-ant-", "password", "token=", "-----BEGIN ", "https://a:", "'"]
)
def test_no_text_keeps_it_busy(part):
    """A tenth of a megabyte is all it ever gets; this guards against a quadratic pattern, not for speed."""
    began = time.process_time()
    without_secrets(part * (100_000 // len(part)), ())
    assert time.process_time() - began < 5
