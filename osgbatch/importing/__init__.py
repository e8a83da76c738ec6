"""Submit files written by hand to what a sweep.yaml must say for the same jobs; pure."""
