-- Now, stages. For each: how many jobs, how many of them are due, how many are leased, and since when the oldest of both
-- could first be leased.
local now = tonumber(ARGV[1])
local depths = {}
for i = 2, #ARGV do
  local stage = ARGV[i]
  local order = order_key(stage)
  local count, ready = redis.call('ZCARD', enqueued_key(stage)), redis.call('ZCOUNT', order, '-inf', now)
  local inflight, oldest_ready, oldest_inflight = 0, now, now
  if ready > 0 then oldest_ready = tonumber(redis.call('ZRANGE', order, 0, 0, 'WITHSCORES')[2]) end
  for _, ref in ipairs(redis.call('SMEMBERS', held_key(stage))) do
    local known = redis.call('HMGET', message_key(ref), 'enqueued_at_ms', 'due_at_ms')
    local since = tonumber(later(known[1], known[2]))
    if tonumber(ready_of(stage, ref)) > now then
      inflight = inflight + 1
      oldest_inflight = math.min(oldest_inflight, since)
    else
      oldest_ready = math.min(oldest_ready, since)
    end
  end
  depths[i - 1] = {count, ready, inflight, text(oldest_ready), text(oldest_inflight)}
end
return depths
