"""Runs the images of jobs in batches on the GPUs, and settles the jobs.

`scheduler` is the face that the routes see. `queue`, `batching` and `recovery` decide and do no I/O. Each state has one
owner: `gpu` knows one GPU process and what is in it, `active_jobs` knows the jobs and their images. `settlement` writes to
the ledger.
"""
