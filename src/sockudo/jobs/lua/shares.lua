-- Now, stage. For each app the same, after its id.
local now, stage = tonumber(ARGV[1]), ARGV[2]
local of, shares = {}, {}
for i, head in ipairs(redis.call('ZRANGE', heads_key(stage), 0, -1)) do
  local app = string.sub(head, 17)
  local lane = lane_key(stage, app)
  local first = tonumber(redis.call('ZRANGE', lane, 0, 0, 'WITHSCORES')[2])
  of[app] = {app, redis.call('ZCARD', lane), redis.call('ZCOUNT', lane, '-inf', now), 0, math.min(first, now), now}
  shares[i] = of[app]
end
for _, ref in ipairs(redis.call('SMEMBERS', held_key(stage))) do
  local known = redis.call('HMGET', message_key(ref), 'enqueued_at_ms', 'due_at_ms', 'app')
  local since, share = tonumber(later(known[1], known[2])), of[known[3]]
  if tonumber(ready_of(stage, ref)) > now then
    share[4] = share[4] + 1
    share[6] = math.min(share[6], since)
  else
    share[5] = math.min(share[5], since)
  end
end
for _, share in ipairs(shares) do share[5], share[6] = text(share[5]), text(share[6]) end
return shares
