"""The embedded default model: its vocabulary and its weights, and how both were made.

Only `vocabulary` and `meaning` are imported when the server runs; `weights/` is a diffusers folder, loaded like any other.
`render/` makes the pictures it learns from and `training/` fits it; both need the `train` extra.
"""
