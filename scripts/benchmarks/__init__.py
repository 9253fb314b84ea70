"""Benchmarks of the server's speed, beside the same work without it. Run by ./scripts/bench."""
