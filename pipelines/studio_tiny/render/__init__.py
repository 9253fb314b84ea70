"""The pictures studio-tiny learns from: catalogue backgrounds, traced once into layers of light, coloured at will.

A *set* is built (`scenes`), traced into *layers* (`tracer`), and developed into as many pictures as wanted (`develop`).
Needs the `train` extra; the server never imports it.
"""
