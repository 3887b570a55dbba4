"""`python -m cxrcausal.cli`: the command line."""

from cxrcausal.cli import main

if __name__ == "__main__":
    main()
