"""From a decoded image to its file."""
