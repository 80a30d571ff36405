"""The Compose stack, brought up whole on a Docker engine."""
