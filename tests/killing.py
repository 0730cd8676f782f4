"""What stands for kill -9 inside one process: an exception that nothing of Ramify catches."""

from __future__ import annotations


class Killed(BaseException):
    """Stands for a SIGKILL: nothing catches it."""


class Killing:
    """A failpoint that kills at the n-th file operation, once; `left` above 0: there were fewer."""

    def __init__(self, operation: int) -> None:
        self.left = operation

    def __call__(self, label: str) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed(label)
