"""The generation side: the GPU process that runs diffusers pipelines, and the studio-tiny model.

The modules beside this file, and `studio_tiny.vocabulary`, are free of torch: the server may import them, and nothing else
of this package. Nothing here imports `server`, Litestar or SQLite.
"""
