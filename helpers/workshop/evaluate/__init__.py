"""Figures of what we ship, on splits kept for this."""
