"""Toy scenes: seeded drawings with ADE20K's annotation values, and the scripts that bundle them."""
