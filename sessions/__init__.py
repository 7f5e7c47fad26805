"""Recording and replay of any record at any seam. Nothing is here yet."""
