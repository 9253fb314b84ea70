"""What a client may ask for: one module a workflow."""
