"""Cameras, files and browsers: open, read, reconnect."""
