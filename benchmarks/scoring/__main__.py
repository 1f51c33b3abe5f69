"""`python -m benchmarks.scoring`."""

from benchmarks.scoring.run import main

if __name__ == "__main__":
    main()
