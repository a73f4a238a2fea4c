"""What the formulas of all chapters stand on: sums per sample, quantiles, pieces of large tensors, conversions."""
