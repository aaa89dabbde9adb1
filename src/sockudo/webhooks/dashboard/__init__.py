"""The area Webhooks of the dashboard: pages and API."""
