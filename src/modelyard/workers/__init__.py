"""Work from the queue: claims, attempts in child processes, periodic work."""
