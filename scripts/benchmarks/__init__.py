"""Speed: what the server makes of a machine, beside what could be had without it. Run by ./scripts/bench."""
