"""Which server the settings mean, and what a tool of its own is called with."""

from __future__ import annotations

import pytest

from mahavishnu_core.settings import Settings
from mahavishnu_session_buddy.letter import Letter
from mahavishnu_session_buddy.target import address_of, fill, target_of

LETTER = Letter("mv1_k3f9a2b1", "mahavishnu mv1_k3f9a2b1: completed\noutput: {id} {tags}", ("a", "b"))


def test_by_default_it_is_where_session_buddy_listens_and_nobody_chose_it():
    target = target_of(Settings(), {})
    assert (str(target), target.is_chosen, target.token) == ("http://127.0.0.1:8678/mcp", False, "")


@pytest.mark.parametrize(
    "changed",
    [{"session_buddy_url": "http://127.0.0.1:9000/mcp"}, {"session_buddy_command": "buddy --stdio"}],
)
def test_whoever_names_a_server_has_chosen_it(changed):
    assert target_of(Settings(**changed), {}).is_chosen


def test_a_command_is_split_as_a_shell_splits_it_and_shown_by_its_program():
    target = target_of(Settings(session_buddy_command="python -c 'import a; a.run()'"), {})
    assert target.command == ("python", "-c", "import a; a.run()")
    assert str(target) == "'python'"


def test_the_token_comes_from_the_environment_and_is_not_shown():
    target = target_of(Settings(), {"MAHAVISHNU_SESSION_BUDDY_TOKEN": "tr0ub4dor"})
    assert target.token == "tr0ub4dor"
    assert "tr0ub4dor" not in repr(target)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:8678/mcp", ("127.0.0.1", 8678)),
        ("http://buddy/mcp", ("buddy", 80)),
        ("https://buddy/mcp", ("buddy", 443)),
        ("http://[::1]:9/mcp", ("::1", 9)),
    ],
)
def test_a_port_that_is_not_said_is_that_of_the_scheme(url, address):
    assert address_of(url) == address


def test_a_template_is_filled_wherever_it_has_words():
    template = {
        "text": "{content}",
        "tags": "{tags}",
        "meta": {"id": "{id}", "kind": "result", "n": 3, "list": ["{title}", None]},
    }
    assert fill(template, LETTER) == {
        "text": LETTER.content,
        "tags": ["a", "b"],
        "meta": {
            "id": "mv1_k3f9a2b1",
            "kind": "result",
            "n": 3,
            "list": ["mahavishnu mv1_k3f9a2b1: completed", None],
        },
    }


def test_words_in_a_letter_are_not_filled():
    assert fill("<{content}>", LETTER) == f"<{LETTER.content}>"


def test_an_unknown_word_stays():
    assert fill("{other} {id}", LETTER) == "{other} mv1_k3f9a2b1"
