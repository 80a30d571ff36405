"""``python -m modelyard``: the command line, where the script is not on the path."""

import sys

from modelyard.cli.main import main

if __name__ == "__main__":
    sys.argv[0] = "modelyard"  # as texts name it
    main()
