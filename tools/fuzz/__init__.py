"""Breaking files at random and counting what comes of reading them."""
