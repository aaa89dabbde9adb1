"""What is done to the push queue in Redis, as scripts: each runs as a whole, with nothing between its steps.

The keys and what is in them are described in `sockudo.queues.push_redis`. All of them are in one hash slot, so a script
may make their names from the one that it is given. Times and numbers are decimal text, an absent value is "".
"""

from __future__ import annotations

from typing import Final

__all__ = ["SCRIPTS"]

_COMMON: Final = """
local base = KEYS[1]

local function message_key(ref) return base .. ':message:' .. ref end
local function keys_key(stage) return base .. ':keys:' .. stage end
local function lane_key(stage, app) return base .. ':lane:' .. stage .. ':' .. app end
local function heads_key(stage) return base .. ':heads:' .. stage end
local function order_key(stage) return base .. ':order:' .. stage end
local function enqueued_key(stage) return base .. ':enqueued:' .. stage end
local function held_key(stage) return base .. ':held:' .. stage end

-- Numbers as text would lose digits of a time.
local function text(number) return string.format('%.0f', number) end
local function later(one, other) if tonumber(one) > tonumber(other) then return one end return other end

-- Says among the heads which message of an app is the first.
local function announce(stage, app)
  local first = redis.call('ZRANGE', lane_key(stage, app), 0, 0, 'WITHSCORES')
  if first[1] then redis.call('ZADD', heads_key(stage), first[2], first[1] .. app) end
end

-- A message may be taken from then on; with false it is no longer there.
local function place(stage, app, ref, ready)
  local lane = lane_key(stage, app)
  local before = redis.call('ZRANGE', lane, 0, 0)[1]
  if ready then
    redis.call('ZADD', lane, ready, ref)
    redis.call('ZADD', order_key(stage), ready, ref)
  else
    redis.call('ZREM', lane, ref)
    redis.call('ZREM', order_key(stage), ref)
  end
  if before then redis.call('ZREM', heads_key(stage), before .. app) end
  announce(stage, app)
end

-- The messages of leases, which are stage, key and token each, from one argument to another; false for one that the
-- token does not have.
local function having(first, last)
  local found = {}
  for i = first, last, 3 do
    local ref = redis.call('HGET', keys_key(ARGV[i]), ARGV[i + 1])
    local message = ref and redis.call('HMGET', message_key(ref), 'token', 'app', 'enqueued_at_ms') or {}
    found[#found + 1] = message[1] == ARGV[i + 2]
      and {stage = ARGV[i], key = ARGV[i + 1], ref = ref, app = message[2], enqueued = message[3]}
  end
  return found
end

-- The message is gone; false if it was already.
local function remove(stage, app, key, ref)
  if redis.call('DEL', message_key(ref)) == 0 then return false end
  redis.call('HDEL', keys_key(stage), key)
  redis.call('SREM', held_key(stage), ref)
  redis.call('ZREM', enqueued_key(stage), ref)
  place(stage, app, ref, false)
  return true
end

-- For each message: now, stage, key, app, body, due, id.
local function produce(first)
  for i = first, #ARGV, 7 do
    local now, stage, key, app, due = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 5]
    if redis.call('HEXISTS', keys_key(stage), key) == 0 then
      local ref = string.format('%016d', redis.call('INCR', base .. ':sequence'))
      redis.call('HSET', keys_key(stage), key, ref)
      redis.call('HSET', message_key(ref), 'key', key, 'app', app, 'body', ARGV[i + 4], 'due_at_ms', due,
        'id', ARGV[i + 6], 'enqueued_at_ms', now, 'attempt', 0)
      redis.call('ZADD', enqueued_key(stage), now, ref)
      place(stage, app, ref, later(now, due))
    end
  end
end
"""

# The version of the keys. One that is newer stays as it is.
_OPEN: Final = """
redis.call('SET', base .. ':format', ARGV[1], 'NX')
return redis.call('GET', base .. ':format')
"""

# Stage, limit, now, end of the lease, how many of an app or "", token, 1 if the clock may have been put back.
_CONSUME: Final = """
local stage, limit, now, lease_until = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local per_app, token, turned_back = tonumber(ARGV[5]) or limit, ARGV[6], ARGV[7]
local heads = heads_key(stage)

-- Nothing was produced, or taken, later than now.
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
"""

# End of the lease, leases.
_EXTEND: Final = """
local had = {}
for i, each in ipairs(having(2, #ARGV)) do
  had[i] = each and 1 or 0
  if each then
    local ready = redis.call('ZSCORE', order_key(each.stage), each.ref)
    place(each.stage, each.app, each.ref, later(ready, ARGV[1]))
  end
end
return had
"""

# How many arguments are leases, leases; messages. Without leases it is produce.
_FINISH: Final = """
local last = tonumber(ARGV[1]) + 1
local had = {}
for i, each in ipairs(having(2, last)) do
  -- It may be listed twice.
  had[i] = each and remove(each.stage, each.app, each.key, each.ref) and 1 or 0
end
produce(last + 1)
return had
"""

# When they are due, leases.
_GIVE_BACK: Final = """
for _, each in ipairs(having(2, #ARGV)) do
  if each and redis.call('SREM', held_key(each.stage), each.ref) == 1 then
    redis.call('HSET', message_key(each.ref), 'due_at_ms', ARGV[1])
    redis.call('HDEL', message_key(each.ref), 'token', 'leased_at_ms')
    redis.call('HINCRBY', message_key(each.ref), 'attempt', -1)
    place(each.stage, each.app, each.ref, later(each.enqueued, ARGV[1]))
  end
end
"""

# Stages.
_NEXT_DUE: Final = """
local least = false
for _, stage in ipairs(ARGV) do
  local first = redis.call('ZRANGE', order_key(stage), 0, 0, 'WITHSCORES')[2]
  if first and (not least or tonumber(first) < tonumber(least)) then least = first end
end
return least
"""

# Now, stages. For each: how many messages, how many of them may be taken, how many somebody has, and since when the
# oldest of both could first be taken.
_DEPTHS: Final = """
local now = tonumber(ARGV[1])
local depths = {}
for i = 2, #ARGV do
  local stage = ARGV[i]
  local order = order_key(stage)
  local count, ready = redis.call('ZCARD', order), redis.call('ZCOUNT', order, '-inf', now)
  local inflight, oldest_ready, oldest_inflight = 0, now, now
  if ready > 0 then oldest_ready = tonumber(redis.call('ZRANGE', order, 0, 0, 'WITHSCORES')[2]) end
  for _, ref in ipairs(redis.call('SMEMBERS', held_key(stage))) do
    local known = redis.call('HMGET', message_key(ref), 'enqueued_at_ms', 'due_at_ms')
    local since = tonumber(later(known[1], known[2]))
    if tonumber(redis.call('ZSCORE', order, ref)) > now then
      inflight = inflight + 1
      oldest_inflight = math.min(oldest_inflight, since)
    else
      oldest_ready = math.min(oldest_ready, since)
    end
  end
  depths[i - 1] = {count, ready, inflight, text(oldest_ready), text(oldest_inflight)}
end
return depths
"""

# Now, stage. For each app the same, after its id.
_SHARES: Final = """
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
  if tonumber(redis.call('ZSCORE', order_key(stage), ref)) > now then
    share[4] = share[4] + 1
    share[6] = math.min(share[6], since)
  else
    share[5] = math.min(share[5], since)
  end
end
for _, share in ipairs(shares) do share[5], share[6] = text(share[5]), text(share[6]) end
return shares
"""

# Stages and keys, one after the other.
_HOLDS: Final = """
local has = {}
for i = 1, #ARGV, 2 do has[#has + 1] = redis.call('HEXISTS', keys_key(ARGV[i]), ARGV[i + 1]) end
return has
"""

# App, limit, stages.
_FORGET: Final = """
local app, limit, gone = ARGV[1], tonumber(ARGV[2]), 0
for i = 3, #ARGV do
  for _, ref in ipairs(redis.call('ZRANGE', lane_key(ARGV[i], app), 0, limit - gone - 1)) do
    if gone == limit then return gone end
    remove(ARGV[i], app, redis.call('HGET', message_key(ref), 'key'), ref)
    gone = gone + 1
  end
end
return gone
"""

SCRIPTS: Final = {
    name: _COMMON + script
    for name, script in (
        ("open", _OPEN),
        ("consume", _CONSUME),
        ("extend", _EXTEND),
        ("finish", _FINISH),
        ("give_back", _GIVE_BACK),
        ("next_due", _NEXT_DUE),
        ("depths", _DEPTHS),
        ("shares", _SHARES),
        ("holds", _HOLDS),
        ("forget", _FORGET),
    )
}
"""The scripts by what they do."""
