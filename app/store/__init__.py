"""Everything that outlives the process: the only part that speaks SQL."""
