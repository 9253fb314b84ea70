"""From a decoded image to its file; nothing here imports torch."""
