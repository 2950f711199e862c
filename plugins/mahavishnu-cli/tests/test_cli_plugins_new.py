"""``plugins new``: a plugin to begin with, which works as it is."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import mahavishnu_cli
from mahavishnu_cli.new_plugin import NewPlugin, needed_core
from mahavishnu_core import __version__
from mahavishnu_core.catalog import NAME

EXAMPLE = Path(__file__).parents[3] / "contrib/mahavishnu-echo"
MOST_LINES = 25


def files_in(directory):
    """What is in a directory, but for what tests and installing leave there."""
    left = re.compile(r"__pycache__|\.egg-info|/\.")
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not left.search(f"/{path.relative_to(directory)}")
    }


def install(project, monkeypatch, site):
    """Have the programs that a test starts find a plugin, as an editable installation does."""
    told = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    info = site / f"{told['name'].replace('-', '_')}-{told['version']}.dist-info"
    info.mkdir(parents=True)
    points = [f"{name} = {value}" for name, value in told["entry-points"]["mahavishnu"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[mahavishnu]", *points]))
    monkeypatch.setenv("PYTHONPATH", f"{project}{os.pathsep}{site}")


def test_the_example_is_what_the_template_gives(tmp_path):
    made = NewPlugin("echo").write(tmp_path)
    assert files_in(made) == files_in(EXAMPLE), (
        "renew it: rm -r contrib/mahavishnu-echo && mahavishnu plugins new echo --directory contrib"
    )


def test_nothing_in_the_template_is_a_module_where_it_lies():
    template = Path(mahavishnu_cli.__file__).with_name("template")
    assert [*template.rglob("*.py")] == []


def test_it_is_a_complete_agent_in_a_few_lines():
    (module,) = EXAMPLE.glob("mahavishnu_*/__init__.py")
    lines = [line for line in module.read_text().splitlines() if line.strip()]
    assert len(lines) <= MOST_LINES
    for hook in ("worker_types", "execute", "parse_progress", "samples"):
        assert any(line.startswith(f"def {hook}(") for line in lines)


def test_it_says_where_it_is_and_what_to_do_next(home):
    ran = home.run("plugins", "new", "robot")
    assert (ran.status, ran.out) == (0, "mahavishnu-robot\n")
    assert "  pip install -e mahavishnu-robot pytest\n  pytest mahavishnu-robot\n" in ran.err
    assert "  mahavishnu workers execute --type robot --count 1 --prompt hello\n" in ran.err
    assert (home.work / "mahavishnu-robot/tests/test_robot.py").exists()


def test_it_is_written_where_it_is_wanted_and_nowhere_else(home):
    (home.work / "my plugins").mkdir()
    ran = home.run("plugins", "new", "robot", "--directory", "my plugins")
    assert ran.out == "my plugins/mahavishnu-robot\n"
    assert "  pytest 'my plugins/mahavishnu-robot'\n" in ran.err
    assert [path.name for path in home.work.iterdir()] == ["my plugins"]
    assert not [path.name for path in home.path.iterdir() if "cookiecutter" in path.name]


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["robot", "robot-arm", "r2.d2", "x_1"])
def test_it_works_as_soon_as_it_is_installed(home, monkeypatch, name):
    home.run("plugins", "new", name)
    install(home.work / f"mahavishnu-{name}", monkeypatch, home.path / "site")
    ran = home.script("workers", "execute", "-t", name, "-n", "1", "-p", "say 'it'\n", "--json")
    (result,) = ran.json
    assert (ran.err.count("warning"), result["status"], result["output"]) == (0, "completed", "say 'it'\n")
    found = {each["name"]: each for each in home.script("plugins", "list", "--json").json["plugins"]}
    assert found[name]["hooks"] == ["execute", "parse_progress", "samples", "worker_types"]


@pytest.mark.contract
def test_it_passes_its_own_tests_with_nothing_but_pytest(home, monkeypatch):
    home.run("plugins", "new", "robot-arm")
    project = home.work / "mahavishnu-robot-arm"
    install(project, monkeypatch, home.path / "site")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\b[1-9]\d* passed", done.stdout)


def test_a_name_that_cannot_be_is_refused(home):
    for name in ("Robot", "1robot", "", "robot-", "a/b", "../robot", "r" * 65, "röbot", "-"):
        ran = home.run("plugins", "new", "--", name)
        assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
        assert "cannot be the name of a plugin" in ran.err
    assert list(home.work.iterdir()) == []


@pytest.mark.parametrize("name", ["a", "ab", "robot-arm", "r2.d2", "x_1", "r" * 64])
def test_a_name_that_can_be_is_one_that_worker_types_may_have(tmp_path, name):
    NewPlugin(name).check([], tmp_path)
    assert NAME.fullmatch(name)


@pytest.mark.parametrize(
    "name", ["shell", "claude", "terminal-qwen", "container", "cli", "core", "generic", "local"]
)
def test_a_name_that_is_taken_is_refused(home, name):
    ran = home.run("plugins", "new", name)
    assert (ran.status, ran.err.count("\n")) == (2, 1)
    assert f"the name {name!r} is taken by what is installed" in ran.err


def test_what_is_there_already_is_left_alone(home):
    home.run("plugins", "new", "robot")
    (home.work / "mahavishnu-robot/README.md").write_text("mine")
    ran = home.run("plugins", "new", "robot")
    assert ran.status == 2
    assert "'mahavishnu-robot' is there already: choose another name or --directory" in ran.err
    assert (home.work / "mahavishnu-robot/README.md").read_text() == "mine"


@pytest.mark.parametrize("directory", ["{{x}}", "{{ 1 % 0 }}", "{% raw %}", "a'b"])
def test_a_directory_may_have_a_name_that_means_something_to_a_template(home, directory):
    place = home.work / directory
    place.mkdir()
    ran = home.run("plugins", "new", "robot", "--directory", directory)
    assert (ran.status, ran.out) == (0, f"{directory}/mahavishnu-robot\n")
    assert [path.name for path in place.iterdir()] == ["mahavishnu-robot"]
    assert (place / "mahavishnu-robot/tests/test_robot.py").exists()


def test_a_directory_in_which_nothing_can_be_written_is_told(home):
    ran = home.run("plugins", "new", "robot", "--directory", "/proc")
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert "'/proc/mahavishnu-robot' cannot be written: No such file or directory" in ran.err
    assert "name another directory with --directory" in ran.err


def test_nothing_half_written_stays(home, monkeypatch):
    def fail(template, context, output_dir, **_):
        (Path(output_dir) / "mahavishnu-robot").mkdir()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("cookiecutter.generate.generate_files", fail)
    ran = home.run("plugins", "new", "robot")
    assert (ran.status, ran.err.count("\n")) == (2, 1)
    assert "cannot be written: No space left on device" in ran.err
    assert list(home.work.iterdir()) == []


def test_a_directory_that_is_not_there_is_told(home):
    ran = home.run("plugins", "new", "robot", "--directory", "nowhere")
    assert ran.status == 2
    assert "'nowhere' is not a directory" in ran.err


def test_without_cookiecutter_it_says_what_to_install(home, monkeypatch):
    for module in [name for name in sys.modules if name.partition(".")[0] == "cookiecutter"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "cookiecutter", None)
    ran = home.run("plugins", "new", "robot")
    assert (ran.status, ran.out, ran.err.count("\n")) == (3, "", 1)
    assert "install it with 'pip install ./plugins/mahavishnu-cli[new]'" in ran.err


def test_the_command_line_does_without_cookiecutter_until_then():
    code = (
        "import sys; from mahavishnu_cli.main import run; run(['plugins', 'new', '-h']); print(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'cookiecutter'" not in done.stdout


def test_the_example_needs_this_version_of_the_core():
    told = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    assert told["dependencies"] == [f"mahavishnu-core{needed_core(__version__)}"]


def test_the_template_is_one_that_cookiecutter_itself_can_use(tmp_path):
    """Somebody may copy it: its own defaults are those of the example."""
    from cookiecutter.main import cookiecutter

    template = tmp_path / "template"
    shutil.copytree(Path(mahavishnu_cli.__file__).with_name("template"), template)
    config = tmp_path / "config.yaml"
    config.write_text(f"cookiecutters_dir: {tmp_path}\nreplay_dir: {tmp_path}\n")
    made = cookiecutter(str(template), no_input=True, output_dir=str(tmp_path), config_file=str(config))
    assert files_in(Path(made)) == files_in(EXAMPLE)
