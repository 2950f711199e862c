"""Text of agents on its way to people: nothing in it is obeyed, nothing secret shown."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mahavishnu_core.text import one_line, printable, redact, secret_begun, secrets_in


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x1b]52;c;ZXZpbA==\x07", "\\x1b]52;c;ZXZpbA==\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("over\rwritten\b\b", "over\\x0dwritten\\x08\\x08"),
        ("\x00\x7f", "\\x00\\x7f"),
        ("\u202etxet\u2066", "\\u202etxet\\u2066"),
        ("a\u2028b\ufeff", "a\\u2028b\\ufeff"),
        ("\udcff\ud800", "\\udcff\\ud800"),
    ],
    ids=ascii,
)
def test_what_a_terminal_would_obey_is_shown_instead(text, shown):
    assert printable(text) == shown


def test_what_people_write_stays_as_it_is():
    text = "Grüße, 漢字 🙂\n\ttwo lines – “quoted” \\ back"
    assert printable(text) == text


@given(st.text(st.characters()))
def test_k1_nothing_that_is_obeyed_gets_through(text):
    shown = printable(text)
    kinds = {unicodedata.category(character) for character in shown if character not in "\t\n"}
    assert not kinds & {"Cc", "Cs", "Zl", "Zp"}
    assert not any(unicodedata.bidirectional(character) in BIDI for character in shown)
    assert printable(shown) == shown


BIDI = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}


@given(st.text(st.characters()), st.integers(1, 40))
def test_one_line_is_one_line_of_the_width_asked_for(text, width):
    line = one_line(text, width)
    assert len(line) <= width
    assert len(line.splitlines()) <= 1
    assert "\n" not in one_line(text)


def test_a_line_that_is_cut_says_so():
    assert one_line("one  two\nthree", 100) == "one two three"
    assert one_line("one two three", 8) == "one two…"
    assert one_line("one two three") == "one two three"


def test_k1_a_forged_log_line_stays_one_line():
    assert one_line("done\n2026-01-01 ERROR forged\r\x1b[2K") == "done 2026-01-01 ERROR forged \\x1b[2K"


def test_secrets_are_known_by_the_names_of_their_variables():
    environ = {
        "ANTHROPIC_API_KEY": "sk-ant-12345678",
        "github_token": "ghp-abcdefgh",
        "DB_PASSWORD": "hunter2hunter2",
        "AWS_SECRET": "longest-of-all-secrets",
        "HOME": "/home/somebody",
        "API_KEY": "short",
    }
    assert secrets_in(environ) == (
        "longest-of-all-secrets",
        "sk-ant-12345678",
        "hunter2hunter2",
        "ghp-abcdefgh",
    )


def test_each_line_of_a_secret_is_one():
    key = "-----BEGIN KEY-----\nMIIEabcdefghijkl\nshort\n-----END KEY-----\n"
    secrets = secrets_in({"APP_PRIVATE_KEY": key})
    assert redact(f"{key}|MIIEabcdefghijkl|short", secrets) == "[redacted]|[redacted]|short"


def test_a_secret_is_taken_out_wherever_it_stands_and_one_in_another_leaves_nothing_of_it():
    secrets = secrets_in({"A_TOKEN": "abcdefgh", "B_TOKEN": "abcdefgh-and-more"})
    assert redact("x abcdefgh-and-more y abcdefgh", secrets) == "x [redacted] y [redacted]"


def test_without_secrets_nothing_is_taken_out():
    assert redact("text", ()) == "text"


@given(st.text("ab", max_size=8), st.lists(st.text("ab", min_size=1, max_size=6), max_size=3).map(tuple))
def test_the_beginning_of_a_secret_is_the_longest_end_that_a_secret_begins_with(text, secrets):
    ends = [text[-size:] for size in range(1, len(text) + 1)]
    begun = [end for end in ends if any(secret.startswith(end) and secret != end for secret in secrets)]
    assert secret_begun(text, secrets) == max(map(len, begun), default=0)
