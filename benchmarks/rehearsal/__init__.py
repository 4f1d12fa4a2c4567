"""A drift rehearsal: what goes wrong, and whether the right alert fires and no other."""
