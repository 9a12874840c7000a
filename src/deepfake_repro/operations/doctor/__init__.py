"""What would stop a run before it starts: checks of the machine and of the checkout."""
