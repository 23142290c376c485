"""Commands for data of your own: `python -m scripts.train --help`, and so on for each."""
