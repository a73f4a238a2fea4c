"""What the tiny models make of a method: a judge that reads pictures, and the numbers that follow."""
