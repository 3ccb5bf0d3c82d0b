"""Generators of the documentation's tables: one function per table, named as in the pages' comments."""
