"""Checks for the notebooks' exercises: `check_...(answer)` prints one line, right or not yet.

A check takes the learner's value or function and tries the latter on several inputs, edge cases
among them. What it prints begins with "Correct" and says why it matters, or with "Not yet" and says
what differs and what may have been misunderstood. Whatever an answer is, no check raises.

There is one module for each notebook; `core` holds what they share.
"""
