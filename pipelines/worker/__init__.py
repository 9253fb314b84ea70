"""The GPU process: orders in, reports out."""
