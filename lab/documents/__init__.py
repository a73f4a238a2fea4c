"""Makes what is made of the documents: the README's list of nodes, the tables of methods, the references."""
