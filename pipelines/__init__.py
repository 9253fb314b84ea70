"""The generation side: the GPU process, which runs diffusers pipelines, and the studio-tiny model.

The server may import only the modules that tests/unit/test_borders.py lists, all of them free of torch. Nothing here imports
the server, Litestar or SQLite. That test proves both.
"""
