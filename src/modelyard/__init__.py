"""Modelyard takes a model from raw data to live traffic with proof at every step."""
