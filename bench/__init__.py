"""How fast the portal is, beside peers that do the same: `make bench`."""
