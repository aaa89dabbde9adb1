-- What every script of a job queue begins with. The keys are described in sockudo/jobs/redis.py. All of them are in one
-- hash slot, so a script may make their names from the one that it is given. Times and numbers are decimal text, an
-- absent value is "". The app of a job is its share, "app" or "app\0group".
local base = KEYS[1]

local function message_key(ref) return base .. ':message:' .. ref end
local function keys_key(stage) return base .. ':keys:' .. stage end
local function lane_key(stage, app) return base .. ':lane:' .. stage .. ':' .. app end
local function line_key(stage, app, order) return base .. ':line:' .. stage .. ':' .. app .. '\0' .. order end
local function listed_key(stage, app) return base .. ':listed:' .. stage .. ':' .. app end
local function heads_key(stage) return base .. ':heads:' .. stage end
local function order_key(stage) return base .. ':order:' .. stage end
local function enqueued_key(stage) return base .. ':enqueued:' .. stage end
local function held_key(stage) return base .. ':held:' .. stage end
local SHARES = base .. ':shares'

-- Numbers as text would lose digits of a time.
local function text(number) return string.format('%.0f', number) end
local function later(one, other) if tonumber(one) > tonumber(other) then return one end return other end

-- Puts the first job of an app among the heads.
local function announce(stage, app)
  local first = redis.call('ZRANGE', lane_key(stage, app), 0, 0, 'WITHSCORES')
  if first[1] then redis.call('ZADD', heads_key(stage), first[2], first[1] .. app) end
end

-- Whether the ordering key of a job holds it up.
local function is_behind(stage, app, ref, order)
  return order and redis.call('ZRANGE', line_key(stage, app, order), 0, 0)[1] ~= ref
end

-- A job may be leased from then on; with false it is no longer there. One that is held up has its time kept with it.
local function place(stage, app, ref, ready, order)
  if ready and is_behind(stage, app, ref, order) then
    redis.call('HSET', message_key(ref), 'ready_at_ms', ready)
    return
  end
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

local function ready_of(stage, ref)
  return redis.call('ZSCORE', order_key(stage), ref) or redis.call('HGET', message_key(ref), 'ready_at_ms')
end

-- The jobs of leases, which are the stage of the key, key and token each, from one argument to another; false for one
-- that the token does not have.
local function having(first, last)
  local found = {}
  for i = first, last, 3 do
    local ref = redis.call('HGET', keys_key(ARGV[i]), ARGV[i + 1])
    local message = ref
      and redis.call('HMGET', message_key(ref), 'token', 'app', 'enqueued_at_ms', 'order', 'stage') or {}
    found[#found + 1] = message[1] == ARGV[i + 2]
      and {stage = message[5] or ARGV[i], key_stage = ARGV[i], key = ARGV[i + 1], ref = ref, app = message[2],
        enqueued = message[3], order = message[4]}
  end
  return found
end

-- The job is in none of the sets of its stage any more; what is behind it has its turn.
local function leave(stage, app, ref, order)
  redis.call('SREM', held_key(stage), ref)
  redis.call('ZREM', enqueued_key(stage), ref)
  if string.find(app, '\0', 1, true) then redis.call('ZREM', listed_key(stage, app), ref) end
  local first = order and not is_behind(stage, app, ref, order)
  if order then redis.call('ZREM', line_key(stage, app, order), ref) end
  place(stage, app, ref, false)
  local following = first and redis.call('ZRANGE', line_key(stage, app, order), 0, 0)[1]
  if following then place(stage, app, following, redis.call('HGET', message_key(following), 'ready_at_ms'), order) end
end

-- The other way round.
local function enter(stage, app, ref, order, enqueued, ready)
  redis.call('ZADD', enqueued_key(stage), enqueued, ref)
  if string.find(app, '\0', 1, true) then
    redis.call('ZADD', listed_key(stage, app), tonumber(ref), ref)
    redis.call('SADD', SHARES, app)
  end
  if order then
    local line = line_key(stage, app, order)
    redis.call('ZADD', line, tonumber(ref), ref)
    local firsts = redis.call('ZRANGE', line, 0, 1)
    -- One that comes back to its place is before what had its turn meanwhile.
    if firsts[1] == ref and firsts[2] then
      redis.call('HSET', message_key(firsts[2]), 'ready_at_ms', ready_of(stage, firsts[2]))
      place(stage, app, firsts[2], false)
    end
  end
  place(stage, app, ref, ready, order)
end

-- The job is gone; false if it was already.
local function remove(stage, app, key_stage, key, ref, order)
  if redis.call('EXISTS', message_key(ref)) == 0 then return false end
  redis.call('HDEL', keys_key(key_stage), key)
  leave(stage, app, ref, order)
  redis.call('DEL', message_key(ref))
  return true
end

-- For each job: now, stage, stage of the key, key, app, body, due, id, ordering key, 1 if it is leased alone, and the
-- field that keeps the ordering key: in a kept stage, where nothing is held up, it is another one.
local function put(first)
  for i = first, #ARGV, 11 do
    local now, stage, key_stage, key, app = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
    local due, field = ARGV[i + 6], ARGV[i + 10]
    local order = field == 'order' and ARGV[i + 8] ~= '' and ARGV[i + 8]
    if redis.call('HEXISTS', keys_key(key_stage), key) == 0 then
      local ref = string.format('%016d', redis.call('INCR', base .. ':sequence'))
      redis.call('HSET', keys_key(key_stage), key, ref)
      redis.call('HSET', message_key(ref), 'key', key, 'app', app, 'body', ARGV[i + 5], 'due_at_ms', due,
        'id', ARGV[i + 7], 'enqueued_at_ms', now, 'attempt', 0)
      if stage ~= key_stage then redis.call('HSET', message_key(ref), 'stage', stage, 'alone', ARGV[i + 9]) end
      if ARGV[i + 8] ~= '' then redis.call('HSET', message_key(ref), field, ARGV[i + 8]) end
      enter(stage, app, ref, order, now, later(now, due))
    end
  end
end

-- Leases a job, and returns it as leases are told: key, app, body, due, id, attempt, enqueued, ordering
-- key, alone, stage, number.
local function leased(stage, app, ref, order, token, now, lease_until)
  redis.call('HSET', message_key(ref), 'token', token, 'leased_at_ms', now)
  local attempt = redis.call('HINCRBY', message_key(ref), 'attempt', 1)
  redis.call('SADD', held_key(stage), ref)
  place(stage, app, ref, lease_until, order)
  local known = redis.call('HMGET', message_key(ref), 'key', 'body', 'due_at_ms', 'id', 'enqueued_at_ms', 'alone',
    'kept_order')
  return {known[1], app, known[2], known[3], known[4], attempt, known[5], order or known[7] or '', known[6] or '', stage,
    ref}
end

-- Whether a job is not leased, or its lease has ended.
local function is_free(stage, ref, now)
  return not redis.call('HGET', message_key(ref), 'token') or tonumber(ready_of(stage, ref)) <= tonumber(now)
end
