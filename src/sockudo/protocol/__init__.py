"""The wire: WebSocket framing and handshake, frames of the protocol in both directions. No IO, no clock."""
