"""Formulas as text: parsed, differentiated, compiled and typeset; never evaluated as Python."""
