"""Many runs: local processes or a Dask cluster, one writer of the table."""
