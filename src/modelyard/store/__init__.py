"""All that speaks SQL: migrations, datasets, models, evaluations, policies, jobs."""
