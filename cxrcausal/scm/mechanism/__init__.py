"""How one variable is assigned from its parents and its noise, one kind a module."""
