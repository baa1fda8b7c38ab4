"""Programs that serve the project and are no tests."""
