"""How several processes train one net: what they add up, agree on and share."""
