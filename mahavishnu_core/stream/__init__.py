"""Reading what agents print: bytes in, typed events out, without any I/O."""

from __future__ import annotations

from mahavishnu_core.stream import fields
from mahavishnu_core.stream.decode import decode
from mahavishnu_core.stream.generic import GenericParser
from mahavishnu_core.stream.lines import LineSplitter, LongLine
from mahavishnu_core.stream.parsers import LinesParser, ObjectParser
from mahavishnu_core.stream.reader import StreamReader
from mahavishnu_core.stream.stream_json import StreamJsonParser

__all__ = [
    "GenericParser",
    "LineSplitter",
    "LinesParser",
    "LongLine",
    "ObjectParser",
    "StreamJsonParser",
    "StreamReader",
    "decode",
    "fields",
]
