"""Errors that are told to the operator."""


class OperatorError(Exception):
    """Something cannot be done. The message is all that the operator needs: it says why, and what to do."""
