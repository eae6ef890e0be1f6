"""How fast the portal is, compared with peers that do the same: `make bench`."""
