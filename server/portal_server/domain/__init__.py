"""What the portal speaks of, and what it accepts. Pure: no I/O, no wire, no SQL."""
