"""One load run by many workers of a Dask cluster."""
