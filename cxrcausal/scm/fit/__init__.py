"""How mechanisms are learnt from rows: which model, by what likelihood, in what order."""
