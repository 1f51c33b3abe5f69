"""How long engines take to be there, beside another one's."""
