"""`python -m kubestrap` is the command `kubestrap`."""

from kubestrap.cli import main

if __name__ == "__main__":
    main()
