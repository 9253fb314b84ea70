"""The `backlot` command."""
