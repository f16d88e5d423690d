"""Headrace keeps customer segments true while events stream in."""
