"""From a folder of imbalanced images to a bundle: torch, a recipe and not a framework. `python -m training --help`."""
