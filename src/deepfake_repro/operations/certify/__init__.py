"""What a device does with the papers' networks: measured in minutes, kept as a certificate."""
