"""Finds words and phrases that this project does not use (phrases.txt)."""
