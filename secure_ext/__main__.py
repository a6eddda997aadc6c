"""``python -m secure_ext``: the same as the console script ``secure-provision``."""

from secure_ext.cli import main

if __name__ == "__main__":
    main()
