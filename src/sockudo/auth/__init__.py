"""Authentication: HTTP requests, channel subscriptions and sign-ins, all signed with the app's secret."""
