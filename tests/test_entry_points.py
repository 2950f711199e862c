"""Plugins are found as ``importlib.metadata`` would find them, whatever else lies on the path."""

from __future__ import annotations

import sys
from importlib import metadata

import pytest

from mahavishnu_core.entry_points import EntryPoint, discover
from tests.installed import Site


@pytest.fixture
def site(tmp_path):
    (tmp_path / "site").mkdir()
    return Site(tmp_path / "site")


def found(*sites: Site) -> list[tuple[str, ...]]:
    return [tuple(entry) for entry in discover([str(site.path) for site in sites])]


def as_metadata_says(path: list[str]) -> set[tuple[str, ...]]:
    """The same by the standard library."""
    entries: set[tuple[str, ...]] = set()
    for distribution in metadata.distributions(path=path):
        name = distribution.metadata["Name"].lower().replace("_", "-")
        for entry in distribution.entry_points.select(group="mahavishnu"):
            entries.add((entry.name, entry.value, name, distribution.version))
    return entries


@pytest.mark.whole
def test_what_is_installed_is_found_as_the_standard_library_finds_it():
    assert {tuple(entry) for entry in discover()} == as_metadata_says(sys.path)
    assert "shell" in {entry.name for entry in discover()}


ENTRIES = """
# [mahavishnu]
# not = this

[console_scripts]
mahavishnu = x:y

[mahavishnu]
  first=a.b
Second = c.d:e.f
; odd = still a line
spaced   =   g : h
no value

[other]
third = i
[mahavishnu]
fourth = j
"""


def test_a_file_is_read_as_the_standard_library_reads_it(site):
    site.add("acme-x", "1.0", ENTRIES.replace("no value\n", ""))
    assert set(found(site)) == as_metadata_says([str(site.path)])
    assert ("fourth", "j", "acme-x", "1.0") in found(site)


@pytest.mark.parametrize(
    "broken",
    [
        ENTRIES,
        "# [mahavishnu]\n",
        "[mahavishnu\nx = y\n",
        "x = y\n[mahavishnu]",
        b"[mahavishnu]\nx\xff = y\xfe\n",
        b"\0",
    ],
    ids=lambda text: ascii(text[:24]),
)
def test_a_file_that_is_broken_keeps_no_other_from_being_read(site, broken):
    site.add("acme-broken", "1.0", broken)
    site.add("acme-good", "1.0", "[mahavishnu]\ngood = module\n")
    assert ("good", "module", "acme-good", "1.0") in found(site)


def test_of_a_distribution_that_is_there_twice_the_first_on_the_path_counts(tmp_path):
    sites = [Site(tmp_path / name) for name in ("one", "two")]
    for version, site in enumerate(sites, 1):
        site.path.mkdir()
        site.add("Acme_X", f"{version}.0", f"[mahavishnu]\nx = module{version}\n")
    assert found(*sites) == [("x", "module1", "acme-x", "1.0")]


def test_places_that_are_no_directories_are_passed_over(site):
    site.add("acme-x", "1.0", "[mahavishnu]\nx = y\n")
    (site.path / "empty-1.0.dist-info").mkdir()
    (site.path / "file-1.0.dist-info").touch()
    path = ["/no/such/place", str(site.path / "file-1.0.dist-info"), str(site.path)]
    assert [entry.name for entry in discover(path)] == ["x"]


def test_an_empty_place_on_the_path_is_where_we_are(site, monkeypatch):
    site.add("acme-x", "1.0", "[mahavishnu]\nx = y\n")
    monkeypatch.chdir(site.path)
    assert [entry.name for entry in discover([""])] == ["x"]


def test_an_entry_point_says_where_it_comes_from_and_loads_what_it_names():
    module = EntryPoint("x", "json", "acme-x", "1.0")
    assert module.source == "acme-x 1.0"
    assert module.load() is sys.modules["json"]
    assert (
        EntryPoint("x", "json : decoder.JSONDecoder", "acme-x", "1.0").load()
        is sys.modules["json"].JSONDecoder
    )
