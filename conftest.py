"""For all tests: what they start obeys the signals that they send."""

from __future__ import annotations

import signal

for _number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    # ignored in what a shell has started in the background, or nohup, and by all that is started in its turn
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number is signal.SIGINT else signal.SIG_DFL)
