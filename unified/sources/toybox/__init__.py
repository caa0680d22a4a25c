"""The built-in world: every row is computed from its number, nothing is stored."""
