-- Stage, limit, now, end of the lease, how many of an app or "", token, 1 if the clock may have been put back, how many
-- of an ordering key together; apps that are left alone.
local stage, limit, now, lease_until = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local per_app, token, turned_back = tonumber(ARGV[5]) or limit, ARGV[6], ARGV[7]
local run, besides = tonumber(ARGV[8]), {}
for i = 9, #ARGV do besides[ARGV[i]] = true end
local heads = heads_key(stage)

-- Nothing was put in, or leased, later than now.
if turned_back == '1' then
  for _, ref in ipairs(redis.call('ZRANGEBYSCORE', enqueued_key(stage), '(' .. now, '+inf')) do
    local known = redis.call('HMGET', message_key(ref), 'app', 'due_at_ms', 'leased_at_ms', 'order')
    redis.call('HSET', message_key(ref), 'enqueued_at_ms', now)
    redis.call('ZADD', enqueued_key(stage), now, ref)
    if not known[3] then place(stage, known[1], ref, later(now, known[2]), known[4]) end
  end
  for _, ref in ipairs(redis.call('SMEMBERS', held_key(stage))) do
    local known = redis.call('HMGET', message_key(ref), 'app', 'leased_at_ms', 'order')
    local later_by = tonumber(known[2]) - tonumber(now)
    if later_by > 0 then
      redis.call('HSET', message_key(ref), 'leased_at_ms', now)
      place(stage, known[1], ref, text(tonumber(ready_of(stage, ref)) - later_by), known[3])
    end
  end
end

local chosen, counts, passed = {}, {}, 0
while #chosen < limit and per_app > 0 do
  local head = redis.call('ZRANGEBYSCORE', heads, '-inf', now, 'LIMIT', passed, 1)[1]
  if not head then break end
  local ref, app = string.sub(head, 1, 16), string.sub(head, 17)
  if besides[app] then
    passed = passed + 1
  else
    local order = redis.call('HGET', message_key(ref), 'order')
    redis.call('ZREM', heads, head)
    redis.call('ZREM', lane_key(stage, app), ref)
    chosen[#chosen + 1] = {ref, app, order}
    counts[app] = (counts[app] or 0) + 1
    local most = math.min(run - 1, limit - #chosen, per_app - counts[app])
    if order and most > 0 and redis.call('HGET', message_key(ref), 'alone') ~= '1' then
      for _, each in ipairs(redis.call('ZRANGE', line_key(stage, app, order), 1, most)) do
        if redis.call('HGET', message_key(each), 'alone') == '1' then break end
        chosen[#chosen + 1] = {each, app, order}
        counts[app] = counts[app] + 1
      end
    end
    if counts[app] < per_app then announce(stage, app) end
  end
end
for app in pairs(counts) do announce(stage, app) end

local taken = {}
for i, each in ipairs(chosen) do taken[i] = leased(stage, each[2], each[1], each[3], token, now, lease_until) end
return taken
