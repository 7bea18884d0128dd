"""Experts of several widths, (K, G): slopes against sparsity, differences at equal size, on both texts."""
