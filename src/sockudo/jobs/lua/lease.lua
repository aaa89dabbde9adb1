-- Stage, limit, now, end of the lease, how many of an app or "", token, 1 if the clock may have been put back.
local stage, limit, now, lease_until = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local per_app, token, turned_back = tonumber(ARGV[5]) or limit, ARGV[6], ARGV[7]
local heads = heads_key(stage)

-- Nothing was put in, or leased, later than now.
if turned_back == '1' then
  for _, ref in ipairs(redis.call('ZRANGEBYSCORE', enqueued_key(stage), '(' .. now, '+inf')) do
    local known = redis.call('HMGET', message_key(ref), 'app', 'due_at_ms', 'leased_at_ms')
    redis.call('HSET', message_key(ref), 'enqueued_at_ms', now)
    redis.call('ZADD', enqueued_key(stage), now, ref)
    if not known[3] then place(stage, known[1], ref, later(now, known[2])) end
  end
  for _, ref in ipairs(redis.call('SMEMBERS', held_key(stage))) do
    local known = redis.call('HMGET', message_key(ref), 'app', 'leased_at_ms')
    local later_by = tonumber(known[2]) - tonumber(now)
    if later_by > 0 then
      redis.call('HSET', message_key(ref), 'leased_at_ms', now)
      place(stage, known[1], ref, text(tonumber(redis.call('ZSCORE', order_key(stage), ref)) - later_by))
    end
  end
end

local chosen, counts = {}, {}
while #chosen < limit and per_app > 0 do
  local head = redis.call('ZRANGEBYSCORE', heads, '-inf', now, 'LIMIT', 0, 1)[1]
  if not head then break end
  local ref, app = string.sub(head, 1, 16), string.sub(head, 17)
  redis.call('ZREM', heads, head)
  redis.call('ZREM', lane_key(stage, app), ref)
  chosen[#chosen + 1] = {ref, app}
  counts[app] = (counts[app] or 0) + 1
  if counts[app] < per_app then announce(stage, app) end
end
for app in pairs(counts) do announce(stage, app) end

local taken = {}
for i, each in ipairs(chosen) do
  local ref, app = each[1], each[2]
  redis.call('HSET', message_key(ref), 'token', token, 'leased_at_ms', now)
  local attempt = redis.call('HINCRBY', message_key(ref), 'attempt', 1)
  redis.call('SADD', held_key(stage), ref)
  place(stage, app, ref, lease_until)
  local known = redis.call('HMGET', message_key(ref), 'key', 'body', 'due_at_ms', 'id', 'enqueued_at_ms')
  taken[i] = {known[1], app, known[2], known[3], known[4], attempt, known[5]}
end
return taken
