"""By what rule do the positive's and the negative's prediction become one?"""

CATEGORY = "advanced/guidance/Azimuth/4 rules against burning"
