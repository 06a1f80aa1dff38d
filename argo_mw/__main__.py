"""``python -m argo_mw``: the command line."""

from argo_mw.cli.main import main

if __name__ == "__main__":
    main()
