"""The command line `portal`."""
