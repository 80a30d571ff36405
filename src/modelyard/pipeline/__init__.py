"""The flow from raw data to a policy version, one file per arrow."""
