"""Goes on talking after its result."""

from __future__ import annotations

import speech

speech.begin()
speech.result()
speech.write(b'{"type":"afterthought"}\n' * 50)
