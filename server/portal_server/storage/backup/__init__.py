"""Backups: all rows in one file, the same for both databases."""
