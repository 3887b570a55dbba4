"""What follows from the arrows: separation, adjustment, and which effects data can tell."""
