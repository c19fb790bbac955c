"""What a request policy needs before the play begins."""
