"""Who pays: keys, limits, and the book of what was used."""
