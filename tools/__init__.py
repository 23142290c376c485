"""What keeps the course running and no notebook imports."""
