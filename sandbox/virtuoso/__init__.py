"""A stateful stand-in for the Virtuoso API: what is created is what is read back, and no id is special.

It answers in the shapes of the real API (envelope rules, string-keyed maps, error bodies and their codes) and can be
told to be slow, to refuse, to break off and to drift. Its own sample data lies in `data/`.
"""
