"""What training and serving cost on the machine at hand; each module is a command."""
