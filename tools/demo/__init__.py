"""`make demo`: an identity provider on this machine."""
