-- Now, what endpoints begin with; "dead" and an endpoint or "", or "ids" and ids.
local now, beginning = ARGV[1], ARGV[2]
local ids = {}
if ARGV[3] == 'ids' then
  for i = 4, #ARGV do ids[i - 3] = ARGV[i] end
else
  for _, endpoint in ipairs(ARGV[4] ~= '' and {ARGV[4]} or endpoints_of(beginning)) do
    for _, id in ipairs(redis.call('ZRANGE', index_key('dead', endpoint), 0, -1)) do ids[#ids + 1] = id end
  end
end

local chosen = {}
for _, id in ipairs(ids) do
  local known = redis.call('HMGET', delivery_key(id), 'lane', 'state', 'sequence')
  local lane, state = known[1], known[2]
  if lane and state ~= 'waiting' and string.sub(lane, 1, #beginning) == beginning then
    chosen[#chosen + 1] = {tonumber(known[3]), id, lane, state}
  end
end
table.sort(chosen, function(one, other) return one[1] < other[1] end)
for _, each in ipairs(chosen) do
  local id, lane, state = each[2], each[3], each[4]
  redis.call('ZREM', index_key(state, endpoint_of(lane)), id)
  redis.call('ZREM', base .. ':settled:' .. state, id)
  redis.call('HDEL', delivery_key(id), 'first_attempt_at_ms', 'settled_at_ms', 'reason')
  redis.call('HSET', delivery_key(id), 'attempts', 0, 'created_at_ms', now, 'due_at_ms', now)
  wait(id, lane)
end
return #chosen
