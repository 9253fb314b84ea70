"""GPUs on other boxes, through a Ray cluster; nothing here is imported unless BACKLOT_RAY is set.

Ray knows which boxes there are, places one actor per GPU, carries messages and images, and says when a box is gone.
`membership` watches for boxes, `process` is the server's end of a GPU process on one, `box` is the other end, in the actor.
"""

import os

# Ray's handler of SIGTERM aborts the process after 3 s; the server stops by itself, in good order, and may need longer.
os.environ.setdefault("RAY_DISABLE_FAILURE_SIGNAL_HANDLER", "1")
# A call of Ray that finds no cluster would start one of its own.
os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
# Ray would end a server that has had no head for a minute, with the images on its own devices. These are three years.
os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", "100000000")
