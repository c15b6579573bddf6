"""What is done once a minute."""
