-- Carries out steps, six arguments each: what, the key, two words, milliseconds, a value. A claim is answered with its
-- outcome and a reply, a question with the event and the milliseconds that it is still kept, all else with {}.
local steps = {}

function steps.claim(key, mark, name, ms)
  local known = redis.call('HMGET', key, 'mark', 'name', 'reply')
  if not known[1] then
    redis.call('HSET', key, 'mark', mark, 'name', name)
    redis.call('PEXPIRE', key, ms)
    return {'claimed', ''}
  end
  if known[1] ~= mark then return {'conflict', ''} end
  if known[3] then return {'done', known[3]} end
  if known[2] == name then
    redis.call('PEXPIRE', key, ms)
    return {'claimed', ''}
  end
  return {'running', ''}
end

function steps.done(key, mark, name, ms, reply)
  local known = redis.call('HGET', key, 'name')
  if known == name or redis.call('EXISTS', key) == 0 then
    redis.call('DEL', key)
    redis.call('HSET', key, 'mark', mark, 'reply', reply)
    redis.call('PEXPIRE', key, ms)
  end
  return {}
end

function steps.free(key, mark, name)
  if redis.call('HGET', key, 'name') == name then redis.call('DEL', key) end
  return {}
end

function steps.put(key, stream, serial, ms, value)
  local known = redis.call('HMGET', key, 'stream', 'serial')
  if stream ~= '' and known[1] == stream and tonumber(known[2]) > tonumber(serial) then return {} end
  redis.call('HSET', key, 'stream', stream, 'serial', serial, 'value', value)
  redis.call('PEXPIRE', key, ms)
  return {}
end

function steps.get(key)
  local value = redis.call('HGET', key, 'value')
  if not value then return {} end
  return {value, redis.call('PTTL', key)}
end

local answers = {}
for at = 1, #ARGV, 6 do
  local key = base .. ':' .. ARGV[at + 1]
  answers[#answers + 1] = steps[ARGV[at]](key, ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5])
end
return answers
