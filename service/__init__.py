"""Serves a bundle over HTTP: BentoML outside, onnxruntime inside, decision/ in between. `python -m service --help`."""
