"""Rows and seeds on several devices or machines, as tasks of ``dask.distributed``."""
