"""The embedded default model: its vocabulary, the renderer of its training pictures, its training, its weights.

Only `vocabulary` is imported when the server runs; `weights/` is a diffusers folder loaded like any other model's.
"""
