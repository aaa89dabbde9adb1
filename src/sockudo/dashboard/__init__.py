"""The dashboard: pages and an API for operators, behind a login (spec: platform § 8.1).

Nothing is offered from here: the command line needs `sockudo.auth.passwords` and not the pages.
"""
