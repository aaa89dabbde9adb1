"""HTTP to servers of others, at addresses that were checked: `sockudo.outbound.client` for webhooks,
`sockudo.outbound.exchange` for providers of push notifications.

Nothing is imported here: both are for servers that send.
"""
