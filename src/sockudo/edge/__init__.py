"""The edge: listeners, HTTP, WebSocket. Turns bytes into calls and results into bytes."""
