"""``python -m tests.fuzz stream``: fuzz one target for a while with atheris, from what agents put out."""

from __future__ import annotations

import argparse
import hashlib
import importlib
import multiprocessing
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import atheris

with atheris.instrument_imports():
    from . import corpus, stream
    from .targets import FINDS, TARGETS

    for _kind in stream.PARSERS.values():
        importlib.import_module(_kind.partition(":")[0])

_MOST_MB = 1024
_SECONDS_OF_ONE = 10
_LONGEST = 65_536


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0, help="0 is another one each time")
    given = parser.parse_args()
    # the fuzzer ends its program without cleaning up
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=_memory()) as directory:
        fuzzer = multiprocessing.get_context("fork").Process(target=_fuzz, args=(given, Path(directory)))
        fuzzer.start()
        fuzzer.join()
    sys.exit(fuzzer.exitcode)


def _memory() -> str | None:
    """A directory that takes no disk, where there is one."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _fuzz(given: argparse.Namespace, directory: Path) -> None:
    """Does not return; what it and the target write is in the directory."""
    tempfile.tempdir = str(directory)
    seeds = {"stream": corpus.of_stream, "settings": corpus.of_settings}[given.target]
    _write(directory / "corpus", seeds())
    finds = FINDS / given.target
    finds.mkdir(parents=True, exist_ok=True)
    options = {
        "max_total_time": given.seconds,
        "seed": given.seed,
        "timeout": _SECONDS_OF_ONE,
        "rss_limit_mb": _MOST_MB,
        "max_len": _LONGEST,
        "artifact_prefix": f"{finds}/",
        "print_final_stats": 1,
    }
    words = [f"-{name}={value}" for name, value in options.items()]
    atheris.Setup([sys.argv[0], *words, str(directory / "corpus")], TARGETS[given.target])
    atheris.Fuzz()


def _write(directory: Path, seeds: Iterable[bytes]) -> None:
    directory.mkdir()
    for seed in seeds:
        (directory / hashlib.sha256(seed).hexdigest()).write_bytes(seed)


if __name__ == "__main__":
    main()
