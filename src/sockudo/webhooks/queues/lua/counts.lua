local leased = {}
for _, lane in ipairs(redis.call('HKEYS', TOKENS)) do
  local endpoint = endpoint_of(lane)
  leased[endpoint] = (leased[endpoint] or 0) + 1
end
local counts = {}
for i, endpoint in ipairs(redis.call('SMEMBERS', ENDPOINTS)) do
  counts[i] = {endpoint, redis.call('ZCARD', index_key('waiting', endpoint)), leased[endpoint] or 0,
    redis.call('ZCARD', index_key('delivered', endpoint)), redis.call('ZCARD', index_key('dead', endpoint))}
end
return counts
