"""The HTTP side: routes, the ledger, the scheduler. Never imports torch, diffusers or anything else of the GPU."""
