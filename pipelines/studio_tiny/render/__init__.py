"""The renders that studio-tiny learns from: catalogue backgrounds, traced once into layers of light, coloured at will.

A *set* is built (`scenes`), traced into *layers* (`tracer`), and developed into any number of pictures (`develop`). This
needs the `train` extra; the server never imports it.
"""
