"""Measurements beside what others do, in one run, as ratios. `make bench` runs them all."""
