"""Pure functions on Arrow tables: digest, schema, profile, splits, file formats."""
