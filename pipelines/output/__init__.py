"""The way of a decoded image to its file; nothing here imports torch."""
