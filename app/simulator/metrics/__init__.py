"""What `/metrics` tells: counts, histograms and their text form."""
