"""`python -m mmu` is `mmu`."""

from mmu.cli import main

if __name__ == "__main__":
    main()
