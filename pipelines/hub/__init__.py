"""Models of a hub: which of their files are needed, where they lie on this box, and the process that downloads them.

No part of it needs torch. Downloads run in processes of their own, `python -m pipelines.hub`, beside generation.
"""
