"""The HTTP side: routes, the ledger, the scheduler. It never imports torch, diffusers or anything else of the GPU."""
