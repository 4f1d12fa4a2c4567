"""Equipoise beside other ways to serve the same network: one machine, one run, answers checked, in turns."""
