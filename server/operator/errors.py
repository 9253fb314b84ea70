"""The operator's own error."""


class CommandError(Exception):
    """The command cannot do what was asked; the message says why and what to do."""
