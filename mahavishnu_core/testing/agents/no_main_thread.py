"""Ends its main thread while another one goes on: to the process table it looks dead."""

from __future__ import annotations

import ctypes
import signal
import threading
import time

import speech

signal.signal(signal.SIGTERM, signal.SIG_IGN)
speech.begin()
threading.Thread(target=time.sleep, args=(speech.SECONDS,)).start()
ctypes.CDLL(None).pthread_exit(None)
