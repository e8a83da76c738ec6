"""What a batch did, as figures, one HTML page and a text: pure, from plain data."""
