"""How a flow learns: which parents it is shown, the steps, and what is written down of them."""
