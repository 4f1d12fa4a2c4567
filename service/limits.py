"""Limits that a service sets, its description names, and its client knows before it asks."""

LONGEST_WAIT = 30
MOST_LISTED = 100
LARGEST_REVISION = (1 << 31) - 1
LONGEST_WINDOW = 14 * 24 * 3600
MOST_LABELS = 1000
MOST_DRAWN = 10_000
DRAWN_DAYS = 14
OBSERVED_DAYS = 90
MOST_IMAGES = 10_000
MOST_TENSOR_IMAGES = 256
