"""Makes a picture for each row of a file. Each row is one job, paid once however often the batch is stopped.

Here a batch is such a file with its folder. On the server the word means the images that run together on a GPU.
"""
