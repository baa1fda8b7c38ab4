"""`make bench`: how long things take, as ratios of runs of one session on identical fresh hosts."""
