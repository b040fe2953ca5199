"""DALL-E 1 and 2 in miniature."""
