"""Where the debug log is shown: iTerm2, tmux, or no window at all."""
