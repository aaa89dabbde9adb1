-- What every script of the webhook queue begins with. The keys are described in sockudo/webhooks/queues/redis.py. All of them are
-- in one hash slot, so a script may make their names from the one that it is given. Times and numbers are decimal text,
-- an absent value is "".
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
