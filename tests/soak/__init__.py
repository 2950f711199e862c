"""A soak: many engines at once whose agents misbehave, with kills, signals and a database that fails."""
