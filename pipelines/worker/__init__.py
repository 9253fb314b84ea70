"""The GPU process, which follows orders of the server and sends it reports."""
