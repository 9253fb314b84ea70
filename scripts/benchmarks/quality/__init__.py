"""How good the pictures of studio-tiny are, measured on held-out specs."""
