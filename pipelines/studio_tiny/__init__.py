"""The embedded default model: its vocabulary and its weights, and how both were made.

Only `vocabulary` is imported when the server runs; `weights/` is a diffusers folder loaded like any other model's.
`render/` makes the pictures it learns from and `training/` fits it; both need the `train` extra.
"""
