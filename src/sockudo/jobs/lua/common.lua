-- What every script of a job queue begins with. The keys are described in sockudo/jobs/redis.py. All of them are in one
-- hash slot, so a script may make their names from the one that it is given. Times and numbers are decimal text, an
-- absent value is "".
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

-- Puts the first job of an app among the heads.
local function announce(stage, app)
  local first = redis.call('ZRANGE', lane_key(stage, app), 0, 0, 'WITHSCORES')
  if first[1] then redis.call('ZADD', heads_key(stage), first[2], first[1] .. app) end
end

-- A job may be leased from then on; with false it is no longer there.
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

-- The jobs of leases, which are stage, key and token each, from one argument to another; false for one that the
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

-- The job is gone; false if it was already.
local function remove(stage, app, key, ref)
  if redis.call('DEL', message_key(ref)) == 0 then return false end
  redis.call('HDEL', keys_key(stage), key)
  redis.call('SREM', held_key(stage), ref)
  redis.call('ZREM', enqueued_key(stage), ref)
  place(stage, app, ref, false)
  return true
end

-- For each job: now, stage, key, app, body, due, id.
local function put(first)
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
