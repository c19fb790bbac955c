"""What a comparison of runs shows: each figure with its words and tables in a file of its own."""
