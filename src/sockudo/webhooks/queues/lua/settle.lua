-- Now, how many attempts are kept; for each claim: lane, token, state, due, reason, attempt as JSON, its time.
local now, kept = ARGV[1], tonumber(ARGV[2])
local held = {}
for i = 3, #ARGV, 7 do
  local lane, token, state, due, reason, attempt, at =
    ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5], ARGV[i + 6]
  if redis.call('HGET', TOKENS, lane) ~= token then
    held[#held + 1] = 0
  else
    held[#held + 1] = 1
    local id = redis.call('LINDEX', lane_key(lane), 0)
    redis.call('HDEL', TOKENS, lane)
    redis.call('ZREM', LEASES, lane)
    if attempt ~= '' then
      redis.call('HINCRBY', delivery_key(id), 'attempts', 1)
      redis.call('HSETNX', delivery_key(id), 'first_attempt_at_ms', at)
      redis.call('RPUSH', attempts_key(id), attempt)
      redis.call('LTRIM', attempts_key(id), -kept, -1)
    end
    if state == 'waiting' then
      redis.call('HSET', delivery_key(id), 'due_at_ms', due)
    else
      redis.call('LPOP', lane_key(lane))
      finish(id, lane, state, reason, now)
    end
    free(lane)
  end
end
return held
