-- How many delivered ones are kept, how many dead ones.
local count = 0
for i, state in ipairs({'delivered', 'dead'}) do
  local settled = base .. ':settled:' .. state
  local over = math.min(redis.call('ZCARD', settled) - tonumber(ARGV[i]), 1000)
  if over > 0 then
    for _, id in ipairs(redis.call('ZRANGE', settled, 0, over - 1)) do
      local endpoint = endpoint_of(redis.call('HGET', delivery_key(id), 'lane'))
      redis.call('ZREM', index_key(state, endpoint), id)
      redis.call('DEL', delivery_key(id), attempts_key(id))
      if redis.call('EXISTS', index_key('waiting', endpoint), index_key('delivered', endpoint),
          index_key('dead', endpoint)) == 0 then
        redis.call('SREM', ENDPOINTS, endpoint)
      end
    end
    redis.call('ZREMRANGEBYRANK', settled, 0, over - 1)
    count = count + over
  end
end
return count
