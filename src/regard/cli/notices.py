"""What a user should know of single lines: the first ones are printed one by one, the rest are counted."""

import sys

MOST = 10


class Notices:
    """Sentences for standard error."""

    def __init__(self) -> None:
        self._number = 0

    def tell(self, sentence: str) -> None:
        """Print one, or count it."""
        self._number += 1
        if self._number <= MOST:
            sys.stderr.write(f"regard: {sentence}\n")

    def finish(self) -> None:
        """Say how many there were beside those that were printed."""
        if self._number > MOST:
            sys.stderr.write(f"regard: and {self._number - MOST:,} more such lines\n")
