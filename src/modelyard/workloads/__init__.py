"""Workloads: one file per system, each a module that satisfies ``contract.Workload``."""
