"""For developers of the course: speed against peers, mutation testing."""
