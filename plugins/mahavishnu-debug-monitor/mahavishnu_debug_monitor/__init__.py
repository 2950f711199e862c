"""The debug monitor: a window that shows the debug log, and keeps what it shows."""
