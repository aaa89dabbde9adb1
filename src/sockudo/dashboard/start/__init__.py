"""The page at ``/`` of a development server: what this is, and a client to try it with."""

from sockudo.dashboard.start.page import is_start_page, start_page

__all__ = ["is_start_page", "start_page"]
