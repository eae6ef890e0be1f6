"""The commands, the processes they start, and their settings."""
