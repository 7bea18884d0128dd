"""What a law misses, as a smooth error: a Gaussian process on the residuals of ln L, admitted only where it helps."""
