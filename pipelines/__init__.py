"""The generation side: model cards, prompts, and the GPU process that runs diffusers pipelines.

`messages`, `models`, `sizes`, `colors` and `prompt` are free of torch, so that the server may import them.
Everything else here runs only inside the GPU process. Nothing here imports `server`, Litestar or SQLite.
"""
