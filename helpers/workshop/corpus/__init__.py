"""How data/corpus is built from packages."""
