-- Now, end of the lease, how many. For each delivery: id, fields, attempts.
local now, lease_until, most = ARGV[1], ARGV[2], tonumber(ARGV[3])

local function told(ids)
  local found = {}
  for i, id in ipairs(ids) do
    found[i] = {id, redis.call('HMGET', delivery_key(id), 'lane', 'body', 'events', 'trace', 'created_at_ms', 'due_at_ms',
      'state', 'attempts', 'first_attempt_at_ms', 'settled_at_ms', 'reason', 'sequence'),
      redis.call('LRANGE', attempts_key(id), 0, -1)}
  end
  return found
end

for _, state in ipairs({'delivered', 'dead'}) do
  local ids = redis.call('ZRANGE', base .. ':settled:' .. state, 0, most - 1)
  if ids[1] then return told(ids) end
end
-- A lane is leased as long as it is carried over, so that no process of the version before goes on with it.
local lane
local tokens = redis.call('HGETALL', TOKENS)
for i = 1, #tokens, 2 do
  if tokens[i + 1] == 'carried over' then lane = tokens[i] end
end
if not lane then
  local due = redis.call('ZRANGE', DUE, 0, 0)[1]
  if due then
    redis.call('ZREM', DUE, due)
    lane = string.sub(due, 17)
  else
    lane = redis.call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, 1)[1]
  end
end
if not lane then return {} end
redis.call('ZADD', LEASES, lease_until, lane)
redis.call('HSET', TOKENS, lane, 'carried over')
return told(redis.call('LRANGE', lane_key(lane), 0, most - 1))
