"""What is done to the webhook queue in Redis, as scripts: each runs as a whole, with nothing between its steps.

The keys and what is in them are described in `sockudo.queues.redis`. All of them are in one hash slot, so a script may
make their names from the one that it is given. Times and numbers are decimal text, an absent value is "".
"""

from __future__ import annotations

from typing import Final

__all__ = ["SCRIPTS"]

_AT_ONCE: Final = 1000

_COMMON: Final = """
local base = KEYS[1]
local DUE, LEASES, TOKENS = base .. ':due', base .. ':leases', base .. ':lane-tokens'
local ENDPOINTS = base .. ':endpoints'

local function delivery_key(id) return base .. ':delivery:' .. id end
local function attempts_key(id) return base .. ':attempts:' .. id end
local function lane_key(lane) return base .. ':lane:' .. lane end
local function lanes_key(endpoint) return base .. ':lanes:' .. endpoint end
local function index_key(state, endpoint) return base .. ':' .. state .. ':' .. endpoint end

-- ["app","endpoint",3] without its last part.
local function endpoint_of(lane) return string.match(lane, '^(.*),%-?%d+%]$') .. ']' end

-- A lane among those that are due: in the order of their heads where they are due at the same time.
local function place(sequence, lane) return string.format('%016d', sequence) .. lane end

-- The lane can be claimed as soon as its head is due; one with nothing in it is gone.
local function free(lane)
  local id = redis.call('LINDEX', lane_key(lane), 0)
  if not id then
    redis.call('SREM', lanes_key(endpoint_of(lane)), lane)
    return
  end
  local head = redis.call('HMGET', delivery_key(id), 'due_at_ms', 'sequence')
  redis.call('ZADD', DUE, head[1], place(head[2], lane))
end

-- Puts a delivery at the end of its lane.
local function wait(id, lane)
  local endpoint = endpoint_of(lane)
  local sequence = redis.call('INCR', base .. ':sequence')
  redis.call('HSET', delivery_key(id), 'sequence', sequence, 'state', 'waiting')
  redis.call('ZADD', index_key('waiting', endpoint), sequence, id)
  if redis.call('RPUSH', lane_key(lane), id) == 1 then
    redis.call('SADD', lanes_key(endpoint), lane)
    redis.call('SADD', ENDPOINTS, endpoint)
    free(lane)
  end
end

-- Ends a delivery, which is no longer in its lane.
local function finish(id, lane, state, reason, now)
  local endpoint = endpoint_of(lane)
  local sequence = redis.call('HGET', delivery_key(id), 'sequence')
  redis.call('HSET', delivery_key(id), 'state', state, 'settled_at_ms', now)
  if reason ~= '' then redis.call('HSET', delivery_key(id), 'reason', reason) end
  redis.call('ZREM', index_key('waiting', endpoint), id)
  redis.call('ZADD', index_key(state, endpoint), sequence, id)
  redis.call('ZADD', base .. ':settled:' .. state, redis.call('INCR', base .. ':settled-sequence'), id)
end

-- What a delivery consists of, in the order of its fields in sockudo.queues.redis.
local function fields(id)
  return redis.call('HMGET', delivery_key(id), 'lane', 'body', 'events', 'trace', 'created_at_ms', 'due_at_ms',
    'state', 'attempts', 'first_attempt_at_ms', 'settled_at_ms', 'reason', 'sequence')
end

-- Endpoints that begin with a text, ["app", for those of an app.
local function endpoints_of(beginning)
  local found = {}
  for _, endpoint in ipairs(redis.call('SMEMBERS', ENDPOINTS)) do
    if string.sub(endpoint, 1, #beginning) == beginning then found[#found + 1] = endpoint end
  end
  return found
end

-- A set of the endpoints that are listed from an argument on.
local function listed(first)
  local found = {}
  for i = first, #ARGV do found[ARGV[i]] = true end
  return found
end
"""

# The version of the keys. One that is newer stays as it is.
_OPEN: Final = """
redis.call('SET', base .. ':format', ARGV[1], 'NX')
return redis.call('GET', base .. ':format')
"""

# For each delivery: id, lane, body, events, trace, created, due.
_APPEND: Final = """
for i = 1, #ARGV, 7 do
  local id, lane = ARGV[i], ARGV[i + 1]
  if redis.call('EXISTS', delivery_key(id)) == 0 then
    redis.call('HSET', delivery_key(id), 'lane', lane, 'body', ARGV[i + 2], 'events', ARGV[i + 3],
      'trace', ARGV[i + 4], 'created_at_ms', ARGV[i + 5], 'due_at_ms', ARGV[i + 6], 'attempts', 0)
    wait(id, lane)
  end
end
"""

# Now, end of the lease, limit, what tokens begin with; endpoints that are left alone.
_CLAIM: Final = """
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
"""

# End of the lease; a lane and its token each.
_RENEW: Final = """
for i = 2, #ARGV, 2 do
  local lane = ARGV[i]
  if redis.call('HGET', TOKENS, lane) == ARGV[i + 1] then
    local score = redis.call('ZSCORE', LEASES, lane)
    if tonumber(score) < tonumber(ARGV[1]) then redis.call('ZADD', LEASES, ARGV[1], lane) end
  end
end
"""

# Now, how many attempts are kept; for each claim: lane, token, state, due, reason, attempt as JSON, its time.
_SETTLE: Final = """
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
"""

# Endpoints that are left alone.
_NEXT_DUE: Final = """
local besides = listed(1)
local function first(key, prefix)
  local from, step = 0, 50
  while true do
    local found = redis.call('ZRANGE', key, from, from + step - 1, 'WITHSCORES')
    for i = 1, #found, 2 do
      if not besides[endpoint_of(string.sub(found[i], prefix + 1))] then return found[i + 1] end
    end
    if #found < 2 * step then return nil end
    from = from + step
  end
end
local due, leased = first(DUE, 16), first(LEASES, 0)
if due and leased then return tonumber(due) <= tonumber(leased) and due or leased end
return due or leased or false
"""

_COUNTS: Final = """
local leased = {}
for _, lane in ipairs(redis.call('HKEYS', TOKENS)) do
  local endpoint = endpoint_of(lane)
  leased[endpoint] = (leased[endpoint] or 0) + 1
end
local counts = {}
for i, endpoint in ipairs(redis.call('SMEMBERS', ENDPOINTS)) do
  counts[i] = {endpoint, redis.call('ZCARD', index_key('waiting', endpoint)), leased[endpoint] or 0,
    redis.call('ZCARD', index_key('delivered', endpoint)), redis.call('ZCARD', index_key('dead', endpoint))}
end
return counts
"""

# What endpoints begin with, or the endpoint; state, below which sequence, limit.
_PAGE: Final = """
local beginning, endpoint, state, before, limit = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local endpoints = endpoint ~= '' and {endpoint} or endpoints_of(beginning)
local states = state ~= '' and {state} or {'waiting', 'delivered', 'dead'}
local top = before ~= '' and '(' .. before or '+inf'
local found = {}
for _, each in ipairs(endpoints) do
  for _, one in ipairs(states) do
    local ids = redis.call('ZREVRANGEBYSCORE', index_key(one, each), top, '-inf', 'WITHSCORES', 'LIMIT', 0, limit)
    for i = 1, #ids, 2 do found[#found + 1] = {tonumber(ids[i + 1]), ids[i]} end
  end
end
table.sort(found, function(one, other) return one[1] > other[1] end)
local page = {}
for i = 1, math.min(limit, #found) do page[i] = {found[i][2], fields(found[i][2])} end
return page
"""

# Id.
_GET: Final = """
return {fields(ARGV[1]), redis.call('LRANGE', attempts_key(ARGV[1]), 0, -1)}
"""

# Now, what endpoints begin with; "dead" and an endpoint or "", or "ids" and ids.
_REPLAY: Final = """
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
"""

# Endpoint, created before, now, reason. Those behind the first thousand of a lane have their turn when it is shorter.
_EXPIRE: Final = f"""
local endpoint, before, now, reason = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local count = 0
for _, lane in ipairs(redis.call('SMEMBERS', lanes_key(endpoint))) do
  local lease_until = redis.call('ZSCORE', LEASES, lane)
  if count < {_AT_ONCE} and (not lease_until or tonumber(lease_until) <= tonumber(now)) then
    local ids, kept = redis.call('LRANGE', lane_key(lane), 0, {_AT_ONCE} - 1), {{}}
    redis.call('HDEL', TOKENS, lane)
    redis.call('ZREM', LEASES, lane)
    redis.call('ZREM', DUE, place(redis.call('HGET', delivery_key(ids[1]), 'sequence'), lane))
    for _, id in ipairs(ids) do
      if count < {_AT_ONCE} and tonumber(redis.call('HGET', delivery_key(id), 'created_at_ms')) < before then
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
"""

# How many delivered ones are kept, how many dead ones.
_TRIM: Final = f"""
local count = 0
for i, state in ipairs({{'delivered', 'dead'}}) do
  local settled = base .. ':settled:' .. state
  local over = math.min(redis.call('ZCARD', settled) - tonumber(ARGV[i]), {_AT_ONCE})
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
"""

SCRIPTS: Final = {
    name: _COMMON + script
    for name, script in (
        ("open", _OPEN),
        ("append", _APPEND),
        ("claim", _CLAIM),
        ("renew", _RENEW),
        ("settle", _SETTLE),
        ("next_due", _NEXT_DUE),
        ("counts", _COUNTS),
        ("page", _PAGE),
        ("get", _GET),
        ("replay", _REPLAY),
        ("expire", _EXPIRE),
        ("trim", _TRIM),
    )
}
"""The scripts by what they do."""
