"""Measures how good the pictures of studio-tiny are, on held-out specs."""
