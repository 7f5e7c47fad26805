"""The records that cross the seams between stages, and the mathematics they are made of."""
