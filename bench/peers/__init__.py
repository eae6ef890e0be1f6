"""What the portal is compared with: the same API, table, rules and durability by other means."""
