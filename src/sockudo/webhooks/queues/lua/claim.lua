-- Now, end of the lease, limit, what tokens begin with; endpoints that are left alone.
local now, lease_until, limit, secret = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), ARGV[4]
local besides = listed(5)
local heads = {}

-- Lanes that nobody has, the longest due first: no more of them than can be claimed.
local from, step = 0, limit + 50
while #heads < limit do
  local found = redis.call('ZRANGEBYSCORE', DUE, '-inf', ARGV[1], 'WITHSCORES', 'LIMIT', from, step)
  for i = 1, #found, 2 do
    local lane = string.sub(found[i], 17)
    if #heads < limit and not besides[endpoint_of(lane)] then
      heads[#heads + 1] = {tonumber(found[i + 1]), found[i], lane}
    end
  end
  if #found < 2 * step then break end
  from = from + step
end

-- Lanes of those who let their lease end.
for _, lane in ipairs(redis.call('ZRANGEBYSCORE', LEASES, '-inf', ARGV[1])) do
  if not besides[endpoint_of(lane)] then
    local head = redis.call('HMGET', delivery_key(redis.call('LINDEX', lane_key(lane), 0)), 'due_at_ms', 'sequence')
    heads[#heads + 1] = {tonumber(head[1]), place(head[2], lane), lane}
  end
end

table.sort(heads, function(one, other)
  if one[1] ~= other[1] then return one[1] < other[1] end
  return one[2] < other[2]
end)
local claims = {}
for i = 1, math.min(limit, #heads) do
  local due, at, lane = heads[i][1], heads[i][2], heads[i][3]
  local id, token = redis.call('LINDEX', lane_key(lane), 0), secret .. '.' .. i
  redis.call('ZREM', DUE, at)
  redis.call('ZADD', LEASES, math.max(due, tonumber(lease_until)), lane)
  redis.call('HSET', TOKENS, lane, token)
  claims[i] = {id, token, fields(id)}
end
return claims
