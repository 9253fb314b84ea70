"""studio-tiny, the model that comes with Backlot: its vocabulary, its weights, and the code that made the weights.

A running server imports only `vocabulary` and `meaning`; `weights/` is a diffusers folder, loaded like any other. `render/`
makes the pictures that the model learns from, and `training/` fits it; both need the `train` extra.
"""
