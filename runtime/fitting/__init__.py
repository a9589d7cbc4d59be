"""`fit`: from a net and data of any kind to a trained net."""
