"""Data that a program gives: arrays, items, streams and files, as batches by number."""
