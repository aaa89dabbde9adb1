-- Endpoint, created before, now, reason. Those behind the first thousand of a lane have their turn when it is shorter.
local endpoint, before, now, reason = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local count = 0
for _, lane in ipairs(redis.call('SMEMBERS', lanes_key(endpoint))) do
  local lease_until = redis.call('ZSCORE', LEASES, lane)
  if count < 1000 and (not lease_until or tonumber(lease_until) <= tonumber(now)) then
    local ids, kept = redis.call('LRANGE', lane_key(lane), 0, 1000 - 1), {}
    redis.call('HDEL', TOKENS, lane)
    redis.call('ZREM', LEASES, lane)
    redis.call('ZREM', DUE, place(redis.call('HGET', delivery_key(ids[1]), 'sequence'), lane))
    for _, id in ipairs(ids) do
      if count < 1000 and tonumber(redis.call('HGET', delivery_key(id), 'created_at_ms')) < before then
        finish(id, lane, 'dead', reason, now)
        count = count + 1
      else
        kept[#kept + 1] = id
      end
    end
    if #kept < #ids then
      redis.call('LTRIM', lane_key(lane), #ids, -1)
      for i = #kept, 1, -1 do redis.call('LPUSH', lane_key(lane), kept[i]) end
    end
    free(lane)
  end
end
return count
