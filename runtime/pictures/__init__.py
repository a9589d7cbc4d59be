"""Images that go into a net, what it learns and what it computes, as grids."""
