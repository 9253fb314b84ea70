"""From waiting jobs to batches on the GPU and back to settled jobs.

`queue` decides and does no I/O; `worker` is the parent's end of the GPU process; `loop` takes, sends and settles.
"""
