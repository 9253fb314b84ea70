"""Many specs from a file: each row one job and its pictures, paid once however often the batch is stopped."""
