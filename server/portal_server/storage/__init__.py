"""Rows in and out. Stores what it is told; decides nothing."""
