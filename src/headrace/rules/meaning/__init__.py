"""What rules say, whatever the facts: comparisons as sets of values, and what follows from them.

Everything here is proven or left unsaid. Shares nothing with the engines but the rule model.
"""
