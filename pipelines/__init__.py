"""The generation side: the GPU process, which runs diffusers pipelines, and the studio-tiny model.

The modules beside this file, those of `checks`, and `studio_tiny.vocabulary` with `studio_tiny.meaning` are free of torch.
The server may import them, and nothing else of this package. Nothing here imports the server, Litestar or SQLite.
tests/unit/test_borders.py proves both.
"""
