-- Ids of deliveries.
for _, id in ipairs(ARGV) do
  local known = redis.call('HMGET', delivery_key(id), 'lane', 'state')
  local lane, state = known[1], known[2]
  if lane then
    local endpoint = endpoint_of(lane)
    redis.call('DEL', delivery_key(id), attempts_key(id))
    redis.call('ZREM', index_key(state, endpoint), id)
    redis.call('ZREM', base .. ':settled:' .. state, id)
    if state == 'waiting' then
      redis.call('LREM', lane_key(lane), 1, id)
      if redis.call('LLEN', lane_key(lane)) == 0 then
        redis.call('ZREM', LEASES, lane)
        redis.call('HDEL', TOKENS, lane)
        redis.call('SREM', lanes_key(endpoint), lane)
      end
    end
    local left = 0
    for _, each in ipairs({'waiting', 'delivered', 'dead'}) do left = left + redis.call('ZCARD', index_key(each, endpoint)) end
    if left == 0 then redis.call('SREM', ENDPOINTS, endpoint) end
  end
end
return redis.status_reply('OK')
