"""The area Push of the dashboard: pages and API."""
