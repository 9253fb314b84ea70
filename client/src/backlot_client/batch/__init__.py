"""Many specs from a file: each row one job and its picture, paid once however often the batch is stopped.

A batch is such a file with its folder here. On the server the word means the images that run together on a GPU.
"""
