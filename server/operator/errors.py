"""The error of a command."""

from server.operator_error import OperatorError


class CommandError(OperatorError):
    """The command cannot do what was asked."""
