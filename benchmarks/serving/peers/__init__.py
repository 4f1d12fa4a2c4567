"""Servers that cannot live in one environment with Equipoise's: what each runs, and what it is run with."""
