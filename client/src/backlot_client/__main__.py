"""`python -m backlot_client`."""

from backlot_client.command.main import main

main()
