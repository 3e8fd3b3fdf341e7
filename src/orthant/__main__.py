"""Run the command line as ``python -m orthant``."""

from orthant.cli.main import main

if __name__ == "__main__":
    main()
