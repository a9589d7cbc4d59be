"""Predictions and measures of trained nets on any data."""
