"""By what rule do the positive's and the negative's prediction become one?"""
