"""Models of a hub: which of their files are needed, which folder has them, and the process that downloads them.

Nothing here needs torch. Each download runs in a process of its own, `python -m pipelines.hub`, beside generation.
"""
