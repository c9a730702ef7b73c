"""`python -m regard` is the command `regard`."""

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # the working directory holds the user's data; a `torch.py` there is not what is meant by torch

from regard.cli.main import main

if __name__ == "__main__":
    main()
