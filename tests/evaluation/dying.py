"""A task that takes its process down, in a file that a new process loads at once."""

import os
import signal


def answered(number: int) -> int:
    """Ten times a number; 2 and 5 kill the process."""
    if number in (2, 5):
        os.kill(os.getpid(), signal.SIGKILL)
    return 10 * number
