"""A small complete workload, to be copied and changed: ``modelyard workloads new NAME``."""
