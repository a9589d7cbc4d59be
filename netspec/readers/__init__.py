"""What other readers of the format get wrong, and equal nets that they get right."""
