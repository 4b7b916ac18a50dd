"""Answers: found in a text, normalised, compared, and voted on.

`extract` finds the answer, `normalize` and `number` bring it to a canonical form, `space` says
whether it can be right at all, `equal` compares two of them (in killable worker processes where
cheap means do not decide), `vote` counts. Import the modules by name: nothing is imported here,
so that a part that only extracts pays for nothing else.
"""
